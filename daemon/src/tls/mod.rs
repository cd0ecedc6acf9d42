// SPDX-License-Identifier: Apache-2.0
//! TLS as the servers of the programs speak it: the flags with Go's names, certificates that can be
//! exchanged while connections are served.

mod certificate;
mod options;

pub use certificate::{CertificateError, Slot, follow_files, follow_folder, self_signed};
pub use options::{OptionsError, TlsOptions};
