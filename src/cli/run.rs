//! `peerage run`: one node, from its start to an orderly stop or a loud end.

use std::future::Future;

use actix_rt::System;
use peerage::{
    DataDir, Node, NodeBuilder, Security, StoredKey,
    control::{About, Control, hooks::Running},
    lan::{Lan, LanConfig},
    overlay::{Overlay, OverlayConfig},
    spaces::{Keep, Spaces, SpacesConfig},
};

use super::{
    api, descriptors,
    error::Failure,
    files,
    logging::{self, Log},
    print::{self, Join, Started},
    resolve::{LogFormat, Settings},
    signals::{self, StopRequest},
};

/// Runs a node until a signal or a failure.
pub(crate) fn run(settings: &Settings, program: &str) -> Result<(), Failure> {
    let log = logging::start(&settings.log.value, settings.log_format.value);
    descriptors::raise();
    let stop = signals::watch()?;
    let result = on_system(serve(settings, program, &log, stop));
    log.release();
    result
}

/// Runs the future where actors can live, and returns as soon as it has ended.
pub(crate) fn on_system(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Failure::System { what: "start the event loop", source })?;
    let system = System::with_tokio_rt(|| runtime);
    let result = system.block_on(work);
    // Dropping the system would wait for name look-ups that are still under way, which can take
    // longer than an orderly stop may. The process ends now anyway.
    std::mem::forget(system);
    result
}

/// The node's whole life.
async fn serve(
    settings: &Settings,
    program: &str,
    log: &Log,
    mut stop: StopRequest,
) -> Result<(), Failure> {
    files::warn_of_readable_secret(settings);
    // The directory is this node's until the end.
    let data_dir = settings.storage.data_dir.value.as_deref().map(DataDir::open).transpose()?;
    let key = key(data_dir.as_ref(), settings.node.security)?;
    let api = api::prepare(settings)?;
    let mut builder = Node::builder().config(settings.node.clone());
    if let Some(dir) = &data_dir {
        builder = builder.store(dir.store_path());
    }
    if let Some(stored) = &key {
        builder = builder.key(stored.key.clone());
    }
    let (overlay, spaces) = tokio::select! {
        started = start(builder, data_dir.as_ref()) => started?,
        () = stop.received() => return Ok(()),
    };
    let node = overlay.node();
    let listen = node.listen_addrs().to_vec();
    let join = Join::of(program, &listen, settings);
    let new_key = key.filter(|stored| stored.is_new).map(|stored| stored.file);
    let at = api.as_ref().map(|api| (api.addr(), api.token_file().to_path_buf()));
    let started = Started { id: node.id().to_string(), listen, api: at, join, new_key };
    let about = About::of(&settings.node, print::settings_toml(settings));
    let control = match (&api, &settings.hook) {
        (None, None) => None,
        _ => Some(Control::start(&overlay, about).await.with_spaces(spaces.clone())),
    };
    let served = api.zip(control.as_ref()).map(|(api, control)| api.serve(control)).transpose()?;
    let hook = settings.hook.as_ref().zip(control.as_ref());
    let hook = hook.map(|(hook, control)| control.hook(hook.value.clone()));
    let lan = settings.lan.value.then(|| Lan::start(node, &LanConfig::of(&settings.node)));
    match settings.log_format.value {
        LogFormat::Text => print::stderr(&started.text()),
        LogFormat::Json => started.log(),
    }
    log.release();
    tokio::select! {
        () = stop.received() => {
            tracing::info!("stopping; a second signal stops at once");
            if let Some(served) = served {
                served.stop().await;
            }
            // At once, since both may take their time.
            tokio::join!(end(hook), leave(lan), async {
                if let Some(control) = control {
                    control.stop().await;
                }
                // Before the sessions end, so that nothing is taken that is not kept any more.
                spaces.stop().await;
                overlay.stop().await;
            });
            Ok(())
        }
        failure = node.failed() => {
            tokio::join!(end(hook), leave(lan));
            Err(Failure::Actor(failure))
        }
    }
}

/// Ends the operator's program, if there is one.
async fn end(hook: Option<Running>) {
    if let Some(hook) = hook {
        hook.stop().await;
    }
}

/// Says goodbye on the local network, if the node is announced there.
async fn leave(lan: Option<Lan>) {
    if let Some(lan) = lan {
        lan.stop().await;
    }
}

/// The node, and the spaces, kept in the directory; in memory if there is none.
async fn start(
    builder: NodeBuilder,
    data_dir: Option<&DataDir>,
) -> Result<(Overlay, Spaces), Failure> {
    // A node that everybody runs passes on what others send each other.
    let overlay = Overlay::start(builder, OverlayConfig::default()).await?;
    let keep = data_dir.map_or(Keep::Memory, |dir| Keep::File(dir.spaces_path()));
    match Spaces::start(&overlay, SpacesConfig::default(), keep).await {
        Ok(spaces) => Ok((overlay, spaces)),
        Err(error) => {
            overlay.stop().await;
            Err(error.into())
        }
    }
}

/// The key in the directory. A node that never encrypts has none, whatever lies there.
fn key(data_dir: Option<&DataDir>, security: Security) -> Result<Option<StoredKey>, Failure> {
    match (data_dir, security) {
        (None, _) | (_, Security::Off) => Ok(None),
        (Some(dir), _) => Ok(Some(dir.key()?)),
    }
}
