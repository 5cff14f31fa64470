//! The shared structs as map keys and values.
#![expect(unsafe_code, reason = "aya asks for a promise about the bytes of each type")]

use aya::Pod;
use filter_common::abi::{Managed, Sampler, Settings, SourceKey, TemporaryBlock};

macro_rules! pod {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {
        $(
            $(#[$doc])*
            #[derive(Clone, Copy)]
            #[repr(transparent)]
            pub(super) struct $name(pub(super) $inner);

            // SAFETY: a transparent wrapper of a `repr(C)` struct of integers and byte arrays
            // without padding, which `filter_common::abi` asserts: every bit pattern is valid and
            // every byte is initialised.
            unsafe impl Pod for $name {}
        )*
    };
}

pod! {
    /// The key of temporary blocks and rates.
    KeyPod(SourceKey);
    /// A temporary block.
    BlockPod(TemporaryBlock);
    /// A managed entry.
    ManagedPod(Managed);
    /// The settings of a generation.
    SettingsPod(Settings);
    /// The sampling state of a CPU.
    SamplerPod(Sampler);
}
