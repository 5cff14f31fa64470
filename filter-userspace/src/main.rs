//! The `mxdp` binary; see `mxdp help`.

fn main() -> std::process::ExitCode {
    mxdp::cli::main()
}
