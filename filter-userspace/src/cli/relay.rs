//! `relay`: customers' hosts that are suspended from sending.

use std::net::IpAddr;
use std::path::Path;

use super::error::{CliError, Exit};
use super::output::{Output, clean};
use super::table::{Align, Table};
use super::time::human;
use crate::control::client::call;
use crate::control::protocol::{Request, SuspendedHost};

/// Lists the suspended hosts.
pub(super) fn list(socket: &Path, output: &mut Output) -> Result<Exit, CliError> {
    let hosts: Vec<SuspendedHost> = call(socket, &Request::RelayList)?;
    if output.json {
        output.object(&hosts)?;
    } else if hosts.is_empty() {
        output.line("No suspended hosts.")?;
    } else {
        output.text(&table(&hosts))?;
    }
    Ok(Exit::Done)
}

/// Lifts suspensions.
pub(super) fn resume(
    socket: &Path,
    address: Option<IpAddr>,
    customer: Option<String>,
    output: &mut Output,
) -> Result<Exit, CliError> {
    let hosts: Vec<SuspendedHost> = call(socket, &Request::RelayResume { address, customer })?;
    if output.json {
        output.object(&hosts)?;
    } else {
        for host in &hosts {
            let customer = clean(&host.customer);
            output.line(&format!("Lifted the suspension of {} of {customer}", host.address))?;
        }
    }
    Ok(Exit::Done)
}

fn table(hosts: &[SuspendedHost]) -> String {
    let columns = ["HOST", "CUSTOMER", "REASON", "EXPIRES"].map(|name| (name, Align::Left));
    let mut table = Table::new(columns);
    for host in hosts {
        let expires = format!("in {}", human(host.remaining_s));
        let customer = clean(&host.customer).into_owned();
        table.row([host.address.to_string(), customer, host.reason.clone(), expires]);
    }
    table.render("")
}
