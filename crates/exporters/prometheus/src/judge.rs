//! What a server's reply to a remote write means.

use hiq_core::encode::Verdict;
use hiq_core::judge::Judge;
use hiq_core::transport::{HttpReply, Reply};

use crate::config::WriteVersion;

/// How much of a request of version 2.0 was written.
pub(crate) const WRITTEN: [&str; 3] = [
    "x-prometheus-remote-write-samples-written",
    "x-prometheus-remote-write-histograms-written",
    "x-prometheus-remote-write-exemplars-written",
];

const JUDGE: Judge = Judge::of("remote write receiver")
    .splits()
    .advises_http(advice);

/// Judges `reply` to a request of `version`. [`Verdict::Reencode`]: in version 1.0.
///
/// Prometheus refuses a whole request for one bad sample in version 1.0, and in 2.0 that sample alone, but does not say which.
/// Halving finds it in either: to write the others once more changes nothing.
pub(crate) fn judge(reply: &Reply, version: WriteVersion) -> Verdict {
    let Reply::Http(http) = reply else {
        return JUDGE.judge(reply);
    };
    match (http.status, version) {
        (200..=299, WriteVersion::V2 | WriteVersion::V2OrV1) if written(http).is_none() => {
            match JUDGE.judge(reply) {
                Verdict::Delivered { .. } => only_knows_version_1(http, version),
                other => other,
            }
        }
        (415, WriteVersion::V2OrV1) => only_knows_version_1(http, version),
        _ => JUDGE.judge(reply),
    }
}

/// Servers before Prometheus 3 have to be told to take native histograms, and answer 500 else. To try again would not help.
pub(crate) fn refuses_natives(reply: &Reply) -> Option<String> {
    let Reply::Http(reply) = reply else {
        return None;
    };
    let words = String::from_utf8_lossy(&reply.body);
    let is_so = reply.status >= 400 && words.contains("native histograms are disabled");
    is_so.then(|| reply.said(&words))
}

/// Samples and histograms that were written. `None`: the server does not know version 2.0.
fn written(reply: &HttpReply) -> Option<u64> {
    let counts = WRITTEN[..2].iter().map(|name| reply.header(name));
    let mut known = counts
        .flatten()
        .filter_map(|count| count.trim().parse::<u64>().ok());
    let first = known.next()?;
    Some(first + known.sum::<u64>())
}

fn only_knows_version_1(reply: &HttpReply, version: WriteVersion) -> Verdict {
    let message = format!(
        "{} does not speak version 2.0 of remote write, it answered {}; {}",
        reply.asked(),
        reply.status,
        match version {
            WriteVersion::V2OrV1 => "it gets version 1.0 from now on",
            WriteVersion::V1 | WriteVersion::V2 => "let the version be 1 or auto",
        }
    );
    match version {
        WriteVersion::V2OrV1 => Verdict::Reencode { message },
        WriteVersion::V1 | WriteVersion::V2 => Verdict::Rejected { message },
    }
}

fn advice(reply: &HttpReply) -> Option<&'static str> {
    Some(match reply.status {
        401 | 403 => "check the credentials in the exporter's headers",
        404 | 405 => {
            "Prometheus takes remote write at /api/v1/write, when it is started with --web.enable-remote-write-receiver"
        }
        415 => "it does not take this version of remote write: try the other of 1 and 2",
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
