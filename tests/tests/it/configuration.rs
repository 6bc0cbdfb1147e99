//! A configuration that is wrong is refused with its place and what may have been meant, and nothing is started.

use anyhow::{Result, ensure};
use hawser_tests::{Gateway, Hawser};
use serde_json::json;

const CONFIGURATION_ERROR: i32 = 78;
const USAGE_ERROR: i32 = 64;

/// A file with one mistake, where it is, and what the message must say.
struct Mistake {
    file: &'static str,
    line: u32,
    says: &'static [&'static str],
}

const MISTAKES: &[Mistake] = &[
    Mistake { file: "lisen: 127.0.0.1:8420\n", line: 1, says: &["lisen", "listen"] },
    Mistake { file: "backends:\n  a:\n    ulr: http://127.0.0.1:1/mcp\n", line: 3, says: &["ulr", "url"] },
    Mistake { file: "listen: here\n", line: 1, says: &["listen"] },
    Mistake {
        file: "backends:\n  a:\n    url: http://127.0.0.1:1/mcp\n    timeout: soon\n",
        line: 4,
        says: &["timeout"],
    },
    Mistake { file: "limits:\n  request_body: big\n", line: 2, says: &["request_body"] },
    Mistake { file: "backends:\n  Not_A_Name:\n    url: http://127.0.0.1:1/mcp\n", line: 2, says: &["Not_A_Name"] },
    Mistake { file: "backends:\n  a: {}\n", line: 2, says: &["url", "command"] },
    Mistake {
        file: "backends:\n  a:\n    url: http://127.0.0.1:1/mcp\n    command: [true]\n",
        line: 4,
        says: &["url", "command"],
    },
    Mistake { file: "endpoints:\n  default:\n    path: /mcp\n    backends: [nobody]\n", line: 4, says: &["nobody"] },
    Mistake {
        file: "auth:\n  authorization_server:\n    refresh_grace: 10m\n",
        line: 3,
        says: &["refresh_grace", "10m"],
    },
    Mistake { file: "store: redis\n", line: 1, says: &["redis", "file", "memory"] },
    Mistake { file: "listen: 127.0.0.1:1\nlisten: 127.0.0.1:2\n", line: 2, says: &["listen"] },
    Mistake { file: "backends: [\n", line: 0, says: &[] },
    Mistake { file: "auth:\n  issuers:\n    - jwks_uri: https://idp.example.com/jwks\n", line: 3, says: &["issuer"] },
    Mistake {
        file: "auth:\n  issuers:\n    - issuer: https://a.example\n      algorithms: [none]\n",
        line: 4,
        says: &["none"],
    },
    Mistake {
        file: "listen: 0.0.0.0:0\nauth:\n  authorization_server:\n    development_login: true\n",
        line: 4,
        says: &["development_login"],
    },
];

#[tokio::test]
async fn a_mistake_is_shown_with_its_file_line_and_column_and_what_was_meant() -> Result<()> {
    let hawser = Hawser::new()?;
    for Mistake { file, line, says } in MISTAKES {
        hawser.write("wrong.yaml", file)?;
        let output = hawser.run(&["config", "check", "wrong.yaml"], "").await?;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.code() == Some(CONFIGURATION_ERROR), "{file}: {}\n{errors}", output.status);
        ensure!(errors.contains("wrong.yaml"), "{file}: the file is not named\n{errors}");
        ensure!(*line == 0 || errors.contains(&format!("wrong.yaml:{line}:")), "{file}: not line {line}\n{errors}");
        for word in *says {
            ensure!(errors.contains(word), "{file}: does not say {word}\n{errors}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn serve_refuses_the_same_file_and_starts_nothing() -> Result<()> {
    let hawser = Hawser::new()?;
    hawser.write("hawser.yaml", "lisen: 127.0.0.1:0\n")?;
    let output = hawser.run(&["serve", "--json", "--data-dir", "data"], "").await?;
    ensure!(output.status.code() == Some(CONFIGURATION_ERROR), "{}", output.status);
    ensure!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    ensure!(!hawser.dir().join("data").exists(), "a data directory was made");
    Ok(())
}

#[tokio::test]
async fn a_good_file_is_said_to_be_good_and_what_it_does() -> Result<()> {
    let hawser = Hawser::new()?;
    hawser.write(
        "hawser.yaml",
        "listen: 127.0.0.1:0\nbackends:\n  clock:\n    command: mcp-server-time --local-timezone=UTC\n",
    )?;
    let output = hawser.run(&["config", "check", "hawser.yaml"], "").await?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(0), "{}: {text}", output.status);
    ensure!(text.contains("clock") && text.contains("/mcp"), "{text}");
    Ok(())
}

#[tokio::test]
async fn a_secret_that_is_not_there_is_named_by_its_reference() -> Result<()> {
    let hawser = Hawser::new()?;
    let file = "backends:\n  a:\n    url: http://127.0.0.1:1/mcp\n    headers: { X-Api-Key: env:HAWSER_TEST_ABSENT }\n";
    hawser.write("hawser.yaml", file)?;
    let output = hawser.run(&["config", "check", "hawser.yaml"], "").await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(CONFIGURATION_ERROR), "{}: {errors}", output.status);
    ensure!(errors.contains("HAWSER_TEST_ABSENT"), "{errors}");
    Ok(())
}

#[tokio::test]
async fn a_file_that_is_not_there_and_an_option_that_does_not_exist_are_told_apart() -> Result<()> {
    let hawser = Hawser::new()?;
    let absent = hawser.run(&["serve", "--config", "absent.yaml"], "").await?;
    ensure!(absent.status.code() == Some(CONFIGURATION_ERROR), "{}", absent.status);
    ensure!(String::from_utf8_lossy(&absent.stderr).contains("absent.yaml"));
    let unknown = hawser.run(&["serve", "--no-such-option"], "").await?;
    ensure!(unknown.status.code() == Some(USAGE_ERROR), "{}", unknown.status);
    ensure!(String::from_utf8_lossy(&unknown.stderr).contains("--no-such-option"));
    Ok(())
}

#[tokio::test]
async fn a_port_that_is_taken_and_a_data_directory_that_is_a_file_are_named() -> Result<()> {
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let hawser = Hawser::new()?;
    let output = hawser.run(&["serve", "--listen", &address, "--data-dir", "data"], "").await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && errors.contains(&address), "{}: {errors}", output.status);

    hawser.write("occupied", "not a directory")?;
    let output = hawser.run(&["serve", "--listen", "127.0.0.1:0", "--data-dir", "occupied"], "").await?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1) && errors.contains("occupied"), "{}: {errors}", output.status);
    Ok(())
}

#[tokio::test]
async fn a_store_that_is_not_a_store_is_named_and_left_as_it_is() -> Result<()> {
    let hawser = Hawser::new()?;
    let mut gateway = Gateway::start(json!({})).await?;
    gateway.stop().await?;
    // Whatever the store's file is called: every file of the data directory is overwritten with nonsense in turn.
    for entry in std::fs::read_dir(gateway.dir().join("data"))? {
        let path = entry?.path();
        if !path.is_file() {
            continue;
        }
        let good = std::fs::read(&path)?;
        std::fs::write(&path, "this is neither a store nor a key")?;
        let data = gateway.dir().join("data");
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--data-dir", data.to_str().unwrap_or_default()];
        let output = hawser.run(&arguments, "").await?;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        ensure!(output.status.code() == Some(1), "{name}: {} {errors}", output.status);
        ensure!(errors.contains(&name), "{name} is not named: {errors}");
        ensure!(std::fs::read(&path)? == b"this is neither a store nor a key", "{name} was changed");
        std::fs::write(&path, good)?;
    }
    gateway.start_again().await
}
