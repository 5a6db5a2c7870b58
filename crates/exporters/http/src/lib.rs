//! One HTTP request: compression, proxies, TLS. Returns the raw reply.
