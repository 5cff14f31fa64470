//! Messages and the commands around them.
