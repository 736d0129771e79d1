//! The PostgreSQL servers and clusters found in Debian's places.

use super::answer::Answer;
use serde_json::{Map, Value, json};

/// Adds `postgresql`; the folder whose disk matters: the running cluster's, else the first one's, else the home.
pub fn gather(answer: &Answer, ours: &mut Map<String, Value>) -> String {
    let mut versions: Vec<u32> = Vec::new();
    let mut clusters: Vec<Map<String, Value>> = Vec::new();
    let mut home = "/";
    for line in answer.section("pg") {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields[..] {
            ["bin", path] => versions.extend(path.split('/').find_map(|part| part.parse::<u32>().ok())),
            ["home", path] => home = path,
            [version, name, status, role, start, data, real] => {
                let cluster = json!({
                    "version": version.parse::<f64>().ok().map(|number| {
                        if number.fract() == 0.0 { json!(number as u64) } else { json!(version) }
                    }),
                    "name": name, "port": 5432, "status": status, "role": role, "start": start,
                    "data_directory": data, "real_directory": real,
                });
                clusters.extend(cluster.as_object().cloned());
            }
            // A later line wins: the main file, conf.d in the order of its names, what ALTER SYSTEM wrote.
            _ => {
                if let (Some(port), Some(cluster)) = (port(line), clusters.last_mut()) {
                    cluster.insert("port".to_owned(), json!(port));
                }
            }
        }
    }
    versions.sort_unstable();
    let online = clusters.iter().find(|cluster| cluster.get("status") == Some(&json!("online")));
    let real = |cluster: &Map<String, Value>| cluster.get("real_directory")?.as_str().map(str::to_owned);
    let directory = online.or(clusters.first()).and_then(real).unwrap_or_else(|| home.to_owned());
    for cluster in &mut clusters {
        cluster.shift_remove("real_directory");
    }
    ours.insert("postgresql".to_owned(), json!({"versions": versions, "clusters": clusters}));
    directory
}

/// `/etc/.../postgresql.conf:port = 5433  # comment`
fn port(line: &str) -> Option<u16> {
    let setting = line.split_once(".conf:")?.1.split('#').next()?.trim().strip_prefix("port")?;
    setting.trim_start_matches(['=', ' ', '\t', '\'']).trim_end_matches(['\'', ' ', '\t']).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_port_wins_and_the_running_cluster_is_the_one_that_matters() {
        let text = "@@pg\n15\tmain\tdown\tprimary\tauto\t/d/15\t/d/15\n\
                    16\tapp\tonline\tstandby\tmanual\t/d/16\t/real/16\n\
                    /etc/postgresql/16/app/postgresql.conf:port = 5433  # x\n\
                    /etc/postgresql/16/app/conf.d/10.conf:port='6000'\n\
                    bin\t/usr/lib/postgresql/16/bin/postgres\nbin\t/usr/lib/postgresql/15/bin/postgres\n\
                    home\t/var/lib\n@@end\n";
        let mut ours = Map::new();
        let directory = gather(&Answer::parse(text).expect("parses"), &mut ours);
        assert_eq!(directory, "/real/16");
        let found = &ours["postgresql"];
        assert_eq!(found["versions"], json!([15, 16]));
        assert_eq!(found["clusters"][0]["port"], json!(5432));
        assert_eq!(
            found["clusters"][1],
            json!({"version": 16, "name": "app", "port": 6000, "status": "online", "role": "standby",
                   "start": "manual", "data_directory": "/d/16"})
        );
    }

    #[test]
    fn without_a_cluster_the_home_matters() {
        let mut ours = Map::new();
        let directory = gather(&Answer::parse("@@pg\nhome\t/var/lib\n@@end\n").expect("parses"), &mut ours);
        assert_eq!(directory, "/var/lib");
        assert_eq!(ours["postgresql"], json!({"versions": [], "clusters": []}));
    }
}
