//! TLS on either side: certificates, keys, handshakes that fail.
