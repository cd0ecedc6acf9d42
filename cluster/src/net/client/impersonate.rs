// SPDX-License-Identifier: Apache-2.0
//! `as`, `as-uid`, `as-groups` and `as-user-extra` of a kubeconfig: whose rights its user wants to have, as headers of each request
//! (Kubernetes' documentation, "User impersonation"). kube reads them and does nothing about them: who lowered his rights would act with his full ones.

use std::fmt::Write;

use http::{HeaderName, HeaderValue};
use kube::config::AuthInfo;

use super::ConnectError;

/// The headers; none where nobody is impersonated.
pub(super) fn impersonation(
    user: &AuthInfo,
) -> Result<Vec<(HeaderName, HeaderValue)>, ConnectError> {
    let mut headers = Vec::new();
    let groups = user.impersonate_groups.iter().flatten();
    let extra = user.impersonate_user_extra.iter().flatten();
    let Some(name) = user.impersonate.as_ref().filter(|name| !name.is_empty()) else {
        // As client-go has it.
        let without = |field| ConnectError::Impersonation { field, reason: "is given without as" };
        if groups.count() > 0 {
            return Err(without("as-groups"));
        }
        if user.impersonate_uid.as_ref().is_some_and(|uid| !uid.is_empty()) {
            return Err(without("as-uid"));
        }
        return if extra.count() > 0 { Err(without("as-user-extra")) } else { Ok(headers) };
    };
    let mut add = |field: &'static str, header: &str, value: &str| {
        let wrong =
            || ConnectError::Impersonation { field, reason: "holds what no HTTP header can carry" };
        let header = HeaderName::try_from(header).map_err(|_| wrong())?;
        headers.push((header, HeaderValue::try_from(value).map_err(|_| wrong())?));
        Ok::<_, ConnectError>(())
    };
    add("as", "Impersonate-User", name)?;
    if let Some(uid) = user.impersonate_uid.as_ref().filter(|uid| !uid.is_empty()) {
        add("as-uid", "Impersonate-Uid", uid)?;
    }
    for group in groups {
        add("as-groups", "Impersonate-Group", group)?;
    }
    for (key, values) in extra {
        let header = format!("Impersonate-Extra-{}", escaped(key));
        for value in values {
            add("as-user-extra", &header, value)?;
        }
    }
    Ok(headers)
}

/// What no name of a header can hold is percent-encoded, and so is the percent sign, as client-go does it.
fn escaped(key: &str) -> String {
    let mut text = String::new();
    for octet in key.bytes() {
        let is_plain = octet.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&octet);
        if is_plain {
            text.push(char::from(octet));
        } else {
            // A string takes everything.
            let _ = write!(text, "%{octet:02X}");
        }
    }
    text
}
