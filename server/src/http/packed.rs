//! A pull's answer in zstd, made chunk by chunk by the thread that reads them.
//!
//! The middleware would do it, too, but at zstd's usual level, which takes half as long again for lines as a pull
//! has them and makes them no smaller, and without letting go of what it has when a chunk ends. What is not to be
//! zstd is left to it. Must not know what the lines say.

use std::io::{self, Write as _};

use actix_web::HttpRequest;
use actix_web::http::header::{AcceptEncoding, Encoding, Header as _};
use actix_web::web::Bytes;
use zstd::stream::write::Encoder;

const LEVEL: i32 = 1;

/// How the chunks of an answer leave.
pub(super) enum Packed {
    AsTheyAre,
    Zstd(Encoder<'static, Vec<u8>>),
}

impl Packed {
    /// As the request would have it.
    pub(super) fn wanted(request: &HttpRequest) -> io::Result<Packed> {
        let known = [Encoding::identity(), Encoding::gzip(), Encoding::zstd()];
        let accepted = AcceptEncoding::parse(request).ok();
        match accepted.and_then(|accepted| accepted.negotiate(known.iter())) {
            Some(encoding) if encoding == Encoding::zstd() => {
                Ok(Packed::Zstd(Encoder::new(Vec::new(), LEVEL)?))
            }
            Some(_) | None => Ok(Packed::AsTheyAre),
        }
    }

    /// The `Content-Encoding`, if there is one.
    pub(super) fn encoding(&self) -> Option<&'static str> {
        match self {
            Packed::AsTheyAre => None,
            Packed::Zstd(_) => Some("zstd"),
        }
    }

    /// The bytes by which the reader has all of `chunk`.
    pub(super) fn pack(&mut self, chunk: Vec<u8>, is_last: bool) -> io::Result<Bytes> {
        match self {
            Packed::AsTheyAre => Ok(Bytes::from(chunk)),
            Packed::Zstd(encoder) => {
                encoder.write_all(&chunk)?;
                if is_last {
                    encoder.do_finish()?;
                } else {
                    encoder.flush()?;
                }
                Ok(Bytes::from(std::mem::take(encoder.get_mut())))
            }
        }
    }
}
