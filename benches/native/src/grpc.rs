//! S9 over gRPC: the peers, and a server that reads calls and throws them away, as fast as it can.

use std::io::{Read, Write};

use bytes::{Buf, BufMut, Bytes};
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tonic::client::Grpc;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};

use crate::deliver::cpu_of;
use crate::floor::Arena;
use crate::{otel, spans};

const METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// What hyper's servers, and so tonic's, grant their clients.
const WINDOW_BYTES: u32 = 1 << 20;

/// A server that takes every call. Prints its port and runs until its input is closed.
pub fn sink() -> std::io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", listener.local_addr()?.port())?;
    out.flush()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(serve(connection));
            }
        });
    });
    std::io::stdin().lock().read_to_end(&mut Vec::new())?;
    Ok(())
}

async fn serve(stream: TcpStream) -> Result<(), h2::Error> {
    let _ = stream.set_nodelay(true);
    let mut connection = h2::server::Builder::new()
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .handshake(stream)
        .await?;
    while let Some(call) = connection.accept().await {
        let (request, respond) = call?;
        tokio::spawn(answer(request, respond));
    }
    Ok(())
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let mut body = request.into_body();
    while let Some(chunk) = body.data().await {
        body.flow_control().release_capacity(chunk?.len())?;
    }
    let mut head = Response::new(());
    let grpc = HeaderValue::from_static("application/grpc");
    head.headers_mut().insert("content-type", grpc);
    let mut stream = respond.send_response(head, false)?;
    stream.send_data(Bytes::from_static(&[0; 5]), false)?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    stream.send_trailers(trailers)
}

pub(crate) fn otlp_exporter(base: &str) -> opentelemetry_otlp::SpanExporter {
    let mut exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_tonic()
        .with_endpoint(base)
        .build()
        .expect("an exporter");
    exporter.set_resource(&otel::resource());
    exporter
}

pub(crate) fn by_otel(
    runtime: &Runtime,
    exporter: &opentelemetry_otlp::SpanExporter,
    batches: &[Vec<SpanData>],
) -> impl FnMut(u64) -> u64 {
    let mut next = spans::turns();
    move |iterations| {
        let mut nanos = 0;
        for _ in 0..iterations {
            let batch = batches[next()].clone();
            nanos += cpu_of(|| {
                runtime
                    .block_on(exporter.export(batch))
                    .expect("the sink answers");
            });
        }
        nanos
    }
}

/// The floor's encoder and tonic.
pub(crate) fn by_floor(runtime: &Runtime, base: &str, arenas: &[Arena]) -> impl FnMut(u64) -> u64 {
    let endpoint = Endpoint::from_shared(base.to_owned()).expect("an address");
    let channel = runtime.block_on(async { endpoint.connect_lazy() });
    let mut client = Grpc::new(channel);
    let mut next = spans::turns();
    move |iterations| {
        cpu_of(|| {
            for _ in 0..iterations {
                let mut body = Vec::new();
                arenas[next()].write_proto(&mut body);
                runtime
                    .block_on(call(&mut client, body))
                    .expect("the sink answers");
            }
        })
    }
}

async fn call(client: &mut Grpc<Channel>, body: Vec<u8>) -> Result<(), tonic::Status> {
    let ready = client.ready().await;
    ready.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
    let path = http::uri::PathAndQuery::from_static(METHOD);
    let codec = Raw { bytes: body.len() };
    client
        .unary(tonic::Request::new(body), path, codec)
        .await
        .map(drop)
}

/// Messages as they are.
struct Raw {
    bytes: usize,
}

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = ();
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self { bytes: self.bytes }
    }

    fn decoder(&mut self) -> Self {
        Self { bytes: 0 }
    }
}

impl Encoder for Raw {
    type Item = Vec<u8>;
    type Error = tonic::Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), tonic::Status> {
        to.put_slice(&item);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(self.bytes + 5, usize::MAX)
    }
}

impl Decoder for Raw {
    type Item = ();
    type Error = tonic::Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<()>, tonic::Status> {
        from.advance(from.remaining());
        Ok(Some(()))
    }
}
