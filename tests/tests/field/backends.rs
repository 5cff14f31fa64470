//! Mail servers behind the proxy, and the meaning of their replies.

mod names;
mod openings;
mod recipients;
mod replies;
