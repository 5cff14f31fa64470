//! Mail servers behind the proxy, and what their replies mean.
