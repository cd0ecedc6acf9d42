// SPDX-License-Identifier: Apache-2.0
//! How long `ferrolb plan` takes for a large folder.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::ensure;

use super::report::Report;
use crate::lab::cleanup;
use crate::lab::wait::now;

const SERVICES: usize = 10_000;

pub(super) fn measure(binaries: &Path, report: &mut Report) -> anyhow::Result<()> {
    let folder = cleanup::folder(0)?.join("plan");
    std::fs::create_dir_all(&folder)?;
    let mut text = String::from(
        "apiVersion: metallb.io/v1beta1\nkind: IPAddressPool\nmetadata: {name: p, namespace: metallb-system}\n\
         spec: {addresses: [10.0.0.0/16]}\n---\n\
         apiVersion: metallb.io/v1beta1\nkind: L2Advertisement\nmetadata: {name: a, namespace: metallb-system}\n",
    );
    for number in 0..SERVICES {
        write!(
            text,
            "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: s{number}\nspec:\n  type: LoadBalancer\n  \
             ports:\n  - port: 80\n"
        )?;
    }
    std::fs::write(folder.join("all.yaml"), text)?;
    let start = now();
    let output = Command::new(binaries.join("ferrolb")).arg("plan").arg(&folder).output()?;
    let took = start.elapsed();
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8_lossy(&output.stdout).lines().count();
    ensure!(lines == SERVICES + 1, "the plan has {lines} lines");
    report.add(
        "`ferrolb plan` of a folder with 10,000 Services",
        "< 1 s",
        format!("{:.2} s", took.as_secs_f64()),
    );
    Ok(())
}
