// SPDX-License-Identifier: Apache-2.0
//! Recorded octets, and properties of everything that is written and read.

mod golden;
mod properties;
