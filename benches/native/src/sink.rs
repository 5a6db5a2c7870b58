//! A server that reads OTLP requests over HTTP/1.1 and throws them away, as fast as it can: what is measured is the client.
//!
//! `hiq-bench sink [silent]` prints its port and runs until its input is closed. A silent one never answers.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

const OK: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n";

/// Until the input is closed.
pub fn main(silent: bool) -> std::io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", listener.local_addr()?.port())?;
    out.flush()?;
    thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(connection, silent));
        }
    });
    std::io::stdin().lock().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Until the client closes the connection, or says something that is no request.
fn serve(connection: TcpStream, silent: bool) -> std::io::Result<()> {
    connection.set_nodelay(true)?;
    let mut writer = connection.try_clone()?;
    let mut reader = BufReader::with_capacity(1 << 18, connection);
    while let Some(length) = request_head(&mut reader)? {
        discard(&mut reader, length)?;
        if !silent {
            writer.write_all(OK)?;
        }
    }
    Ok(())
}

/// The length of the body; `None` at the end of the connection.
fn request_head(reader: &mut impl BufRead) -> std::io::Result<Option<usize>> {
    let (mut length, mut line) = (0, String::new());
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(Some(length));
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(std::io::Error::other)?;
        }
    }
}

fn discard(reader: &mut impl BufRead, mut left: usize) -> std::io::Result<()> {
    while left > 0 {
        let here = reader.fill_buf()?.len().min(left);
        if here == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        reader.consume(here);
        left -= here;
    }
    Ok(())
}
