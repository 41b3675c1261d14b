//! A registry that takes everything and keeps nothing, to measure what uploads can do without one: `sink ADDRESS`.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("sink ADDRESS")?;
    for stream in TcpListener::bind(address)?.incoming() {
        let stream = stream?;
        // A client that goes away is no error.
        std::thread::spawn(move || serve(stream).ok());
    }
    Ok(())
}

fn serve(stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_capacity(1 << 20, stream.try_clone()?);
    let mut writer = stream;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let method = line.split(' ').next().unwrap_or_default().to_owned();
        let (mut length, mut is_chunked) = (0, false);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let header = header.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            is_chunked |= header.starts_with("transfer-encoding:");
        }
        if is_chunked {
            while chunk(&mut reader)? > 0 {}
        } else {
            skip(&mut reader, length)?;
        }
        let status = match method.as_str() {
            "HEAD" | "GET" => "404 Not Found",
            "PUT" => "201 Created",
            _ => "202 Accepted",
        };
        write!(
            writer,
            "HTTP/1.1 {status}\r\nLocation: /v2/u/1\r\nContent-Length: 0\r\n\r\n"
        )?;
    }
}

fn chunk(reader: &mut impl BufRead) -> io::Result<u64> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let length = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
    skip(reader, length)?;
    reader.read_line(&mut line)?;
    Ok(length)
}

fn skip(reader: &mut impl Read, length: u64) -> io::Result<u64> {
    io::copy(&mut reader.take(length), &mut io::sink())
}
