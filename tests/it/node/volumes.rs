//! A Pod's volumes: Secrets, ConfigMaps, projections of them with the account's token, and empty folders.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::{Path, PathBuf},
};

use k8s_openapi::{
    DeepMerge as _,
    api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
        core::v1::{
            ConfigMap, KeyToPath, Pod, Secret, ServiceAccount, ServiceAccountTokenProjection,
            Volume, VolumeProjection,
        },
    },
};
use kube::{Api, Client, api::PostParams};

use super::environment::field;
use crate::support::{KubeletVolume, Ownership, keep_secrets_in};

/// Name and content.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// All volumes of one Pod, in folders of the host.
pub(super) struct Volumes {
    client: Client,
    pod: Pod,
    volumes: BTreeMap<String, Mounted>,
    /// The account's tokens, by what they are for; a Pod that lives for minutes needs no second one.
    tokens: BTreeMap<String, Vec<u8>>,
}

enum Mounted {
    Kept {
        volume: Box<Volume>,
        files: KubeletVolume,
        folder: PathBuf,
    },
    Empty(PathBuf),
}

impl Volumes {
    /// Mounts them below a folder; an error is what is missing in the cluster still.
    pub(super) async fn mount(client: &Client, pod: &Pod, folder: &Path) -> Result<Self, String> {
        let mut mounted = Self {
            client: client.clone(),
            pod: pod.clone(),
            volumes: BTreeMap::new(),
            tokens: BTreeMap::new(),
        };
        for volume in pod.spec.as_ref().unwrap().volumes.iter().flatten() {
            let path = folder.join(&volume.name);
            let kept = if volume.empty_dir.is_some() {
                fs::create_dir(&path).unwrap();
                fs::set_permissions(&path, fs::Permissions::from_mode(0o2777)).unwrap();
                chown(&path, None, mounted.group()).unwrap();
                Mounted::Empty(path)
            } else {
                mounted.request_tokens(volume).await?;
                let files = mounted.files(volume).await?;
                keep_secrets_in(files.values().map(Vec::as_slice));
                Mounted::Kept {
                    volume: Box::new(volume.clone()),
                    files: KubeletVolume::mount_as(&path, &files, mounted.ownership(volume))
                        .unwrap(),
                    folder: path,
                }
            };
            mounted.volumes.insert(volume.name.clone(), kept);
        }
        Ok(mounted)
    }

    /// A volume's folder on the host, and whether a container can only read it whatever it asks for.
    pub(super) fn folder(&self, name: &str) -> (&Path, bool) {
        match &self.volumes[name] {
            Mounted::Kept { folder, .. } => (folder, true),
            Mounted::Empty(folder) => (folder, false),
        }
    }

    /// Takes over what has changed in the cluster.
    pub(super) async fn sync(&self) {
        for mounted in self.volumes.values() {
            if let Mounted::Kept { volume, files, .. } = mounted {
                // What is gone from the cluster stays mounted.
                if let Ok(now) = self.files(volume).await {
                    files.update(&now).unwrap();
                }
            }
        }
    }

    fn group(&self) -> Option<u32> {
        let context = self.pod.spec.as_ref().unwrap().security_context.as_ref();
        let group = context.and_then(|context| context.fs_group);
        group.map(|group| u32::try_from(group).unwrap())
    }

    /// Whose a volume's files are, as the kubelet makes them: root's, and readable by the Pod's group if it has one.
    fn ownership(&self, volume: &Volume) -> Ownership {
        let token = volume.projected.as_ref().is_some_and(|projected| {
            let mut sources = projected.sources.iter().flatten();
            sources.any(|source| source.service_account_token.is_some())
        });
        let default = if let Some(secret) = &volume.secret {
            secret.default_mode
        } else if let Some(map) = &volume.config_map {
            map.default_mode
        } else {
            volume.projected.as_ref().unwrap().default_mode
        };
        let mode = u32::try_from(default.unwrap_or(0o644)).unwrap();
        let group = self.group();
        let own = if token && group.is_some() {
            0o600
        } else {
            mode
        };
        Ownership {
            mode: if group.is_some() { own | 0o440 } else { own },
            group,
        }
    }

    async fn files(&self, volume: &Volume) -> Result<Files, String> {
        if let Some(secret) = &volume.secret {
            let name = secret.secret_name.as_deref().unwrap();
            self.secret(name, secret.items.as_deref(), secret.optional)
                .await
        } else if let Some(map) = &volume.config_map {
            self.config_map(&map.name, map.items.as_deref(), map.optional)
                .await
        } else if let Some(projected) = &volume.projected {
            let mut files = Files::new();
            for source in projected.sources.iter().flatten() {
                files.extend(self.projection(source).await?);
            }
            Ok(files)
        } else {
            panic!("a kind of volume that tests don't know: {volume:?}")
        }
    }

    async fn projection(&self, source: &VolumeProjection) -> Result<Files, String> {
        if let Some(secret) = &source.secret {
            self.secret(&secret.name, secret.items.as_deref(), secret.optional)
                .await
        } else if let Some(map) = &source.config_map {
            self.config_map(&map.name, map.items.as_deref(), map.optional)
                .await
        } else if let Some(token) = &source.service_account_token {
            Ok(Files::from([(
                token.path.clone(),
                self.tokens[audience(token)].clone(),
            )]))
        } else if let Some(downward) = &source.downward_api {
            let items = downward.items.iter().flatten();
            let one = |item: &k8s_openapi::api::core::v1::DownwardAPIVolumeFile| {
                let value = field(
                    &self.pod,
                    &item.field_ref.as_ref().unwrap().field_path,
                    None,
                );
                (item.path.clone(), value.into_bytes())
            };
            Ok(items.map(one).collect())
        } else {
            panic!("a kind of projection that tests don't know: {source:?}")
        }
    }

    fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap()
    }

    async fn secret(
        &self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
    ) -> Result<Files, String> {
        let api = Api::<Secret>::namespaced(self.client.clone(), self.namespace());
        let found = api.get_opt(name).await.map_err(|error| error.to_string())?;
        let data = found.map(|secret| secret.data.unwrap_or_default());
        let files = data.map(|data| {
            data.into_iter()
                .map(|(name, content)| (name, content.0))
                .collect()
        });
        chosen(&format!("the Secret {name}"), files, items, optional)
    }

    async fn config_map(
        &self,
        name: &str,
        items: Option<&[KeyToPath]>,
        optional: Option<bool>,
    ) -> Result<Files, String> {
        let api = Api::<ConfigMap>::namespaced(self.client.clone(), self.namespace());
        let found = api.get_opt(name).await.map_err(|error| error.to_string())?;
        let data = found.map(|map| map.data.unwrap_or_default());
        let files = data.map(|data| {
            data.into_iter()
                .map(|(name, text)| (name, text.into_bytes()))
                .collect()
        });
        chosen(&format!("the ConfigMap {name}"), files, items, optional)
    }

    async fn request_tokens(&mut self, volume: &Volume) -> Result<(), String> {
        let sources = volume
            .projected
            .iter()
            .flat_map(|projected| projected.sources.iter().flatten());
        for token in sources.filter_map(|source| source.service_account_token.as_ref()) {
            let of = &self.pod.metadata;
            let mut request = TokenRequest::default();
            request.spec.merge_from(TokenRequestSpec {
                audiences: token.audience.iter().cloned().collect(),
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Pod".to_owned()),
                    name: of.name.clone(),
                    uid: of.uid.clone(),
                }),
                expiration_seconds: token.expiration_seconds,
            });
            let accounts = Api::<ServiceAccount>::namespaced(self.client.clone(), self.namespace());
            let account = self
                .pod
                .spec
                .as_ref()
                .unwrap()
                .service_account_name
                .as_deref();
            let given = accounts
                .create_token_request(account.unwrap(), &PostParams::default(), &request)
                .await
                .map_err(|error| error.to_string())?;
            let content = given.status.unwrap().token.into_bytes();
            self.tokens.insert(audience(token).to_owned(), content);
        }
        Ok(())
    }
}

fn audience(token: &ServiceAccountTokenProjection) -> &str {
    token.audience.as_deref().unwrap_or_default()
}

/// The files that a volume wants of an object that may not be there.
fn chosen(
    what: &str,
    files: Option<Files>,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
) -> Result<Files, String> {
    let optional = optional == Some(true);
    let Some(mut files) = files else {
        return if optional {
            Ok(Files::new())
        } else {
            Err(format!("{what} is missing"))
        };
    };
    let Some(items) = items else { return Ok(files) };
    let mut chosen = Files::new();
    for item in items {
        assert!(item.mode.is_none() && !item.path.contains('/'), "{item:?}");
        match files.remove(&item.key) {
            Some(content) => drop(chosen.insert(item.path.clone(), content)),
            None if optional => {}
            None => return Err(format!("{what} has no {}", item.key)),
        }
    }
    Ok(chosen)
}
