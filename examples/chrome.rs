//! A trace file for viewers: open it at ui.perfetto.dev, with vizviewer, or at `chrome://tracing`.
//!
//! ```sh
//! cargo run -p hiq-chrome --example chrome -- trace.json.gz
//! ```

use std::error::Error;
use std::time::Duration;

use hiq_chrome::ChromeExporter;
use hiq_core::pipeline::Pipeline;
use hiq_core::record::tracer::Tracer;

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "trace.json.gz".to_owned());
    let chrome = ChromeExporter::new(path)?;
    let target = chrome.target();
    let pipeline = Pipeline::builder()
        .exporter("chrome", move || chrome.build())
        .build();
    let tracer = Tracer::new(pipeline.clone());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| paint(&tracer));
        }
    });
    let report = pipeline.shutdown(Duration::from_secs(5));
    if !report.is_complete() {
        return Err(format!("not every span is in {target}").into());
    }
    Ok(())
}

fn paint(tracer: &Tracer) {
    let _painting = tracer.span("paint");
    for _ in 0..3 {
        let _mixing = tracer.span("mix");
    }
}
