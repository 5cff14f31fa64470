//! Queries the attached program itself: a test run on a crafted SYN that changes no counter, no
//! rate and no event.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use filter_common::abi::dry_run;
use filter_common::{ClassSet, Reason};

/// Runs `program` on `frame` without a trace.
pub(super) fn ask(program: &Xdp, frame: &[u8]) -> Result<(Reason, ClassSet)> {
    let mut input = dry_run::QUESTION.to_vec();
    input.extend_from_slice(frame);
    let length = u32::try_from(input.len())?;
    // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index,
    // egress_ifindex; the metadata lies from data_meta to data.
    let mut context = [0_u8; 24];
    context[0..4].copy_from_slice(&u32::try_from(dry_run::LENGTH)?.to_ne_bytes());
    context[4..8].copy_from_slice(&length.to_ne_bytes());
    let mut output = vec![0; input.len()];
    program
        .test_run(TestRunOptions {
            data_in: Some(&input),
            data_out: Some(&mut output),
            ctx_in: Some(&context),
            ..TestRunOptions::new()
        })
        .context("test run of the attached program")?;
    let metadata = output.first_chunk().context("a short answer")?;
    dry_run::read(metadata).context("the program gave no answer")
}

/// Runs `program` on `frame` as if it had arrived.
pub(super) fn run(program: &Xdp, frame: &[u8], repeat: u32) -> Result<(u32, Duration)> {
    let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
    let result = program.test_run(options).context("test run of the program")?;
    Ok((result.return_value, result.duration))
}

/// An Ethernet frame with an initial SYN.
pub(super) fn syn(source: IpAddr, port: u16) -> Vec<u8> {
    const TCP: u8 = 6;
    let mut frame = vec![0; 12];
    match source {
        IpAddr::V4(source) => {
            frame.extend([0x08, 0x00]);
            frame.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, TCP, 0, 0]);
            frame.extend(source.octets());
            frame.extend([192, 0, 2, 1]);
        }
        IpAddr::V6(source) => {
            frame.extend([0x86, 0xdd]);
            frame.extend([0x60, 0, 0, 0, 0, 20, TCP, 64]);
            frame.extend(source.octets());
            frame.extend([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        }
    }
    let [high, low] = port.to_be_bytes();
    frame.extend([0xc0, 0, high, low, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0xff, 0xff, 0, 0, 0, 0]);
    frame
}
