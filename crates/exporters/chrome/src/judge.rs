//! What becomes of a payload: a file answers by taking it, and nothing in these formats can be refused in part.

use hiq_core::encode::Verdict;
use hiq_core::transport::Reply;

/// Judges what came back from wherever the payload went.
pub(crate) fn judge(reply: &Reply) -> Verdict {
    match reply {
        Reply::Acknowledged => delivered(),
        Reply::Http(http) if (200..300).contains(&http.status) => delivered(),
        Reply::Http(http) => {
            let message = format!("the server answered {}", http.status);
            match http.status {
                429 | 500..=599 => Verdict::Retry {
                    after: http.retry_after,
                    message,
                },
                413 => Verdict::TooLarge { message },
                401 => Verdict::Unauthorized { message },
                _ => Verdict::Rejected { message },
            }
        }
        _ => Verdict::SentUnconfirmed,
    }
}

fn delivered() -> Verdict {
    Verdict::Delivered {
        rejected: 0,
        message: None,
    }
}
