// SPDX-License-Identifier: Apache-2.0
//! Where decisions go: the API's status subresources and events, or the state file of a folder.

pub mod kubernetes;
