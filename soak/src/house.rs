//! All processes of a run: nodes behind the balancer, the store with a link from each node, backends.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::catalogue;
use crate::effects::Effects;
use crate::front::Front;
use crate::issuer::Issuer;
use crate::owner::TOKEN_LASTS;
use crate::program::{Program, Stopped};
use crate::store_server::SharedStore;
use crate::world::BACKENDS;

/// How long a node may take to stop: what is in flight, and a little.
const STOP_LIMIT: Duration = Duration::from_secs(45);

struct Node {
    program: Program,
    arguments: Vec<OsString>,
    port: u16,
}

struct Backend {
    program: Program,
    era: &'static str,
    record: PathBuf,
    port: u16,
}

/// The processes.
pub(crate) struct House {
    folder: PathBuf,
    pub(crate) front: Front,
    pub(crate) store: Option<SharedStore>,
    nodes: Vec<Node>,
    backends: Vec<Backend>,
    pids: Arc<Mutex<Vec<Option<u32>>>>,
}

impl House {
    /// Starts everything for these users. One node keeps its own store; several share one.
    pub(crate) async fn start(folder: &Path, nodes: usize, users: &[String], issuer: &Issuer) -> Result<Self> {
        let front = Front::start().await?;
        let mut backends = Vec::new();
        let mut configured = serde_json::Map::new();
        for era in BACKENDS {
            let backend = Backend::start(era, folder).await?;
            configured.insert(era.to_owned(), json!({ "url": backend.url(), "timeout": "20s" }));
            backends.push(backend);
        }
        configured.insert("many".to_owned(), json!({ "url": catalogue::serve().await? }));
        let store = if nodes > 1 { Some(SharedStore::start(nodes).await?) } else { None };
        let pids = Arc::new(Mutex::new(vec![None; nodes]));
        let mut house = Self { folder: folder.to_owned(), front, store, nodes: Vec::new(), backends, pids };
        write_key_ring(&house.key_ring())?;
        let configuration = house.configuration(users, issuer, &configured.into())?;
        for number in 0..nodes {
            house.add_node(number, &configuration).await?;
        }
        let addresses = house.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port).parse());
        house.front.set_nodes(addresses.collect::<Result<_, _>>()?);
        Ok(house)
    }

    fn configuration(&self, users: &[String], issuer: &Issuer, backends: &Value) -> Result<Value> {
        let user = |name: &String| Ok(json!({ "name": name, "password": hawser_tests::quick_hash(name)? }));
        let users = users.iter().map(user).collect::<Result<Vec<_>>>()?;
        let lifetime = format!("{}s", TOKEN_LASTS.as_secs());
        Ok(json!({
            "public_url": self.front.url(),
            "key_ring": format!("file:{}", self.key_ring().display()),
            "backends": backends,
            "drain": { "delay": "1s", "grace": "10s" },
            "auth": {
                "authorization_server": { "users": users, "access_token_lifetime": lifetime },
                "issuers": [issuer.configuration()],
            },
        }))
    }

    async fn add_node(&mut self, number: usize, configuration: &Value) -> Result<()> {
        let name = format!("node-{number}");
        let folder = self.folder.join(&name);
        std::fs::create_dir_all(&folder)?;
        let mut configuration = configuration.clone();
        if let Some(link) = self.store.as_ref().and_then(|store| store.links.get(number)) {
            configuration["store"] = format!("redis://{}", link.address()).into();
        }
        // JSON is YAML.
        std::fs::write(folder.join("hawser.yaml"), configuration.to_string())?;
        let arguments = ["serve", "--json", "--config", "hawser.yaml", "--data-dir", "data", "--listen"];
        let arguments = arguments.map(OsString::from).to_vec();
        let mut node = Node { program: Program::new(&name, hawser_tests::hawser()?, &folder), arguments, port: 0 };
        node.start().await?;
        self.nodes.push(node);
        self.note_pids();
        Ok(())
    }

    fn note_pids(&self) {
        let pids = self.nodes.iter().map(|node| node.program.pid()).collect();
        *self.pids.lock().unwrap_or_else(PoisonError::into_inner) = pids;
    }

    /// The process ids of the nodes at any time.
    pub(crate) fn pids(&self) -> Arc<Mutex<Vec<Option<u32>>>> {
        Arc::clone(&self.pids)
    }

    pub(crate) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The key ring that all nodes read.
    pub(crate) fn key_ring(&self) -> PathBuf {
        self.folder.join("key-ring.json")
    }

    /// The folder that a node runs in.
    pub(crate) fn node_folder(&self, node: usize) -> PathBuf {
        self.folder.join(format!("node-{node}"))
    }

    /// SIGKILL.
    pub(crate) async fn kill_node(&mut self, node: usize) -> Result<()> {
        let killed = self.nodes.get_mut(node).context("no such node")?.program.kill().await;
        self.note_pids();
        killed
    }

    /// SIGTERM, and waits.
    pub(crate) async fn stop_node(&mut self, node: usize) -> Result<Stopped> {
        let stopped = self.nodes.get_mut(node).context("no such node")?.program.stop(STOP_LIMIT).await;
        self.note_pids();
        stopped
    }

    pub(crate) async fn start_node(&mut self, node: usize) -> Result<()> {
        let started = self.nodes.get_mut(node).context("no such node")?.start().await;
        self.note_pids();
        started
    }

    /// Nodes that ended although nobody asked them to.
    pub(crate) fn ended_nodes(&mut self) -> Vec<usize> {
        let ended = |(number, node): (usize, &mut Node)| node.program.has_ended().then_some(number);
        self.nodes.iter_mut().enumerate().filter_map(ended).collect()
    }

    pub(crate) async fn kill_backend(&mut self, backend: usize) -> Result<()> {
        self.backends.get_mut(backend).context("no such backend")?.program.kill().await
    }

    pub(crate) async fn start_backend(&mut self, backend: usize) -> Result<()> {
        self.backends.get_mut(backend).context("no such backend")?.listen().await
    }

    /// What the backends did.
    pub(crate) fn effects(&self) -> Result<Effects> {
        let mut effects = Effects::default();
        for backend in &self.backends {
            effects.read(&backend.record)?;
        }
        Ok(effects)
    }
}

impl Node {
    async fn start(&mut self) -> Result<()> {
        let mut arguments = self.arguments.clone();
        arguments.push(format!("127.0.0.1:{}", self.port).into());
        let ready = self.program.start(&arguments).await?;
        let listen = ready["listen"].as_str().context("a node does not say where it listens")?;
        self.port = listen.parse::<std::net::SocketAddr>()?.port();
        Ok(())
    }
}

impl Backend {
    async fn start(era: &'static str, folder: &Path) -> Result<Self> {
        let record = folder.join(format!("effects-{era}"));
        let program = Program::new(&format!("backend-{era}"), hawser_tests::sibling("everything")?, folder);
        let mut backend = Self { program, era, record, port: 0 };
        backend.listen().await?;
        Ok(backend)
    }

    async fn listen(&mut self) -> Result<()> {
        let listen = format!("127.0.0.1:{}", self.port);
        let mut arguments = ["--era", self.era, "--listen", &listen, "--record"].map(OsString::from).to_vec();
        arguments.push(self.record.clone().into());
        let ready = self.program.start(&arguments).await?;
        self.port = port(&ready["url"])?;
        Ok(())
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }
}

fn port(url: &Value) -> Result<u16> {
    let url: url::Url = url.as_str().context("no url")?.parse()?;
    url.port().context("a url without a port")
}

fn write_key_ring(path: &Path) -> Result<()> {
    let mut secret = [0; 32];
    aws_lc_rs::rand::fill(&mut secret).map_err(|_| anyhow::anyhow!("no randomness"))?;
    let ring = json!({ "keys": [{ "id": 1, "state": "active", "secret": URL_SAFE_NO_PAD.encode(secret) }] });
    std::fs::write(path, ring.to_string()).context("the key ring")
}
