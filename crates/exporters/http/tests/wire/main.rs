//! The transport against scripted servers on this machine: what is sent, what comes back, and what goes wrong.

mod answers;
mod authority;
mod client;
mod deadlines;
mod faults;
mod options;
mod proxies;
mod requests;
mod secrets;
mod server;
mod tls;
