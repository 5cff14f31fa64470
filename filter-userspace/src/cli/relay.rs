//! `relay`: hosts that may not send out for a time.

use std::net::IpAddr;
use std::path::Path;

use super::error::{CliError, Exit};
use super::output::{Output, clean};
use super::table::{Align, Table};
use super::time::human;
use crate::control::client::call;
use crate::control::protocol::{Request, SuspendedHost};

/// Lists them.
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

/// Lets some send out again.
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
            output.line(&format!("{} of {customer} may send out again", host.address))?;
        }
    }
    Ok(Exit::Done)
}

fn table(hosts: &[SuspendedHost]) -> String {
    let columns = ["HOST", "CUSTOMER", "REASON", "ENDS"].map(|name| (name, Align::Left));
    let mut table = Table::new(columns);
    for host in hosts {
        let ends = format!("in {}", human(host.remaining_s));
        let customer = clean(&host.customer).into_owned();
        table.row([host.address.to_string(), customer, host.reason.clone(), ends]);
    }
    table.render("")
}
