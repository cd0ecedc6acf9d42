// SPDX-License-Identifier: Apache-2.0
//! The API types that ferrolb serves and the *validated* configuration made from them.
//!
//! [`metallb`] holds one kind per file, exactly as the API server stores it. [`config`] turns objects into
//! types that cannot hold nonsense, and says in the contract's words what was wrong with the rest.
//! This crate knows no sockets, no clients and no time.

pub mod address;
pub mod admission;
pub mod antrea;
pub mod config;
pub mod ferrolb;
pub mod labels;
pub mod metallb;
pub mod robustness;
pub mod rules;
