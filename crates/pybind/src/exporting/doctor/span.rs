//! A span, through an exporter of spans.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hiq_core::pipeline::Pipeline;
use hiq_core::record::tracer::Tracer;
use hiq_core::resource::Resource;

use super::{Finding, PATIENCE, Said, Try, left, only};
use crate::exporting::registry::Build;

struct Span {
    build: Arc<dyn Build>,
}

pub(super) fn way(build: Box<dyn Build>) -> Box<dyn Try> {
    Box::new(Span {
        build: Arc::from(build),
    })
}

impl Try for Span {
    fn send(&self, name: &str, resource: &Arc<Resource>, timeout: Duration) -> Finding {
        let (said, build) = (Said::default(), Arc::clone(&self.build));
        let pipeline = Pipeline::builder()
            .resource(Arc::clone(resource))
            .exporter(name.to_owned(), move || build())
            .status(said.sink())
            .build();
        let began = Instant::now();
        let trace_id = offer(&pipeline);
        let mut took = await_fate(&pipeline, &said, timeout);
        if only(&pipeline.stats()).sent_unconfirmed > 0 {
            // That nobody listens there, the system says to the second packet.
            offer(&pipeline);
            took += await_fate(&pipeline, &said, left(began, timeout));
        }
        let ledger = only(&pipeline.stats());
        pipeline.shutdown(Duration::ZERO);
        Finding {
            sent: format!("the span `hiq doctor` of trace {trace_id}"),
            took,
            words: said.last(),
            ledger,
        }
    }
}

/// Records the span. Returns the id of its trace.
fn offer(pipeline: &Pipeline) -> String {
    let tracer = Tracer::new(pipeline.clone());
    let span = tracer.span("hiq doctor");
    let context = span.context();
    drop(span);
    context.map_or_else(String::new, |context| context.trace_id.to_string())
}

/// Waits until the span is settled or the exporter has something to say. Returns how long that took.
fn await_fate(pipeline: &Pipeline, said: &Said, timeout: Duration) -> Duration {
    let began = Instant::now();
    while !pipeline.flush(PATIENCE).is_complete()
        && said.last().is_none()
        && began.elapsed() < timeout
    {}
    began.elapsed()
}
