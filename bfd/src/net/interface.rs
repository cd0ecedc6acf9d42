// SPDX-License-Identifier: Apache-2.0
//! Names and indices of interfaces: if_nametoindex(3).
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};

/// The index of an interface that exists.
pub(super) fn index(name: &str) -> Option<u32> {
    let name = CString::new(name).ok()?;
    // SAFETY: the name ends with a zero octet and is only read.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    (index != 0).then_some(index)
}

/// The name of an interface that exists.
pub(super) fn name(index: u32) -> Option<String> {
    let mut buffer: [libc::c_char; libc::IF_NAMESIZE] = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the size that the function writes at most.
    let result = unsafe { libc::if_indextoname(index, buffer.as_mut_ptr()) };
    if result.is_null() {
        return None;
    }
    // SAFETY: the function succeeded, so the buffer holds a name that ends with a zero octet.
    let name = unsafe { CStr::from_ptr(buffer.as_ptr()) };
    name.to_str().ok().map(str::to_owned)
}
