//! The names that the client asks for.

use hiq_net::progress::Progress;
use hiq_net::resolve::addresses;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// The system's own, see [`addresses`].
#[derive(Debug)]
pub(crate) struct SystemResolver(pub(crate) Progress);

impl Resolve for SystemResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let progress = self.0.clone();
        Box::pin(async move {
            let found = addresses(name.as_str().to_owned(), progress).await?;
            Ok(Box::new(found) as Addrs)
        })
    }
}
