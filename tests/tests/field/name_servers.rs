//! Name servers, DNS lists and SPF.
