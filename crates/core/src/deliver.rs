//! Delivery: the bridge from an encoder and a transport to an exporter, and the only place that tries again.
//!
//! ```text
//! export ─► piece ─encode─► parcel ─submit─► on the wire ─judge─► settled
//!             ▲                ▲                           ├────► again later (the same bytes)
//!             │                └───────────────────────────┘
//!             └──── split: over the server's limit, or one bad item among them
//! ```

mod options;

pub use options::{Compression, DeliveryOptions, RetryPolicy};
