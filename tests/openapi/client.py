"""Uses the generated client of the folder ARGV[1] as its user would: the server of ARGV[2], the certificates of ARGV[3:6] (CA, chain, key)."""

import ssl
import sys

folder, server, ca, chain, key = sys.argv[1:]
sys.path.insert(0, folder)

from headcount_client.client import Client
from headcount_client.api.read import (
    get_containers,
    get_deployment,
    get_replicas,
    list_deployments,
    list_deployments_of_namespace,
)
from headcount_client.api.server import get_health, who_am_i
from headcount_client.api.write import (
    restart,
    roll_back,
    set_image,
    set_paused,
    set_replicas,
    step_replicas,
)
from headcount_client.models import (
    Error,
    Listed,
    Message,
    PausedWritten,
    Replicas,
    ReplicasWritten,
    Restarted,
    RolledBack,
    Rollback,
    SetImage,
    SetPaused,
    SetReplicas,
    StepReplicas,
)

context = ssl.create_default_context(cafile=ca)
context.minimum_version = ssl.TLSVersion.TLSv1_3
context.load_cert_chain(chain, key)
client = Client(base_url=server, verify_ssl=context, timeout=10, raise_on_unexpected_status=True)


def same(found, expected):
    assert found == expected, f"{found!r} is not {expected!r}"


same(get_health.sync(client=client).status, "healthy")
same(who_am_i.sync(client=client).principal, "alice")

shop = dict(namespace="web", name="shop")
before = get_replicas.sync(**shop, client=client)
same(before, Replicas(**shop, replica_count=2))
same(Listed(**shop, replica_count=2) in list_deployments.sync(client=client), True)

# Written, and read back.
done = set_replicas.sync(**shop, client=client, body=SetReplicas(replica_count=5))
same(done, Message(message="Replica count updated successfully."))
same(get_replicas.sync(**shop, client=client).replica_count, 5)

# What was done, for those who ask; a dry run changes nothing.
done = set_replicas.sync(
    **shop, client=client, body=SetReplicas(replica_count=7), prefer="return=representation", dry_run=True
)
assert isinstance(done, ReplicasWritten), done
same((done.replica_count, done.previous_replica_count, done.changed), (7, 5, True))
same(get_replicas.sync(**shop, client=client).replica_count, 5)

# A precondition that doesn't hold, and a Deployment that isn't there, are errors with a type.
read = get_replicas.sync_detailed(**shop, client=client)
same(get_replicas.sync_detailed(**shop, client=client, if_none_match=read.headers["etag"]).status_code, 304)
stale = set_replicas.sync_detailed(**shop, client=client, body=SetReplicas(replica_count=1), if_match='"old"')
same((stale.status_code, type(stale.parsed)), (412, Error))
missing = get_replicas.sync_detailed(namespace="web", name="nothing", client=client)
same((missing.status_code, type(missing.parsed)), (404, Error))
assert "no Deployment" in missing.parsed.error, missing.parsed

set_image.sync(**shop, container="main", client=client, body=SetImage(image="example.org/shop:9"))
same(get_containers.sync(**shop, client=client).containers[0].image, "example.org/shop:9")

# A page, and where the next one is.
page = list_deployments_of_namespace.sync_detailed(namespace="web", client=client, limit=1)
same((len(page.parsed), 'rel="next"' in page.headers["link"]), (1, True))

# A write that waits says how its rollout ended; the detail says the same, and who it was.
done = set_replicas.sync(
    **shop, client=client, body=SetReplicas(replica_count=3), prefer="return=representation, wait=60"
)
same((done.rollout.status, done.rollout.available), ("complete", 3))
detail = get_deployment.sync(**shop, client=client)
same((detail.replicas.ready, detail.last_set_by.principal), (3, "alice"))
waited = get_deployment.sync_detailed(**shop, client=client, prefer="wait=60")
same((waited.status_code, waited.headers["preference-applied"]), (200, "wait=60"))

# A step is made once, however often it is sent with its key; without one, or a condition, it is none.
step = dict(**shop, client=client, body=StepReplicas(delta=2), prefer="return=representation")
for _ in range(2):
    done = step_replicas.sync(**step, idempotency_key="one-step")
    same((done.previous_replica_count, done.replica_count), (3, 5))
same(get_replicas.sync(**shop, client=client).replica_count, 5)
refused = step_replicas.sync_detailed(**step)
same((refused.status_code, type(refused.parsed)), (400, Error))

# Restart, pause, resume, roll back.
done = restart.sync(**shop, client=client, prefer="return=representation")
same((type(done), done.changed), (Restarted, True))
done = set_paused.sync(**shop, client=client, body=SetPaused(paused=True), prefer="return=representation")
same((type(done), done.paused, done.previously_paused), (PausedWritten, True, False))
held = restart.sync_detailed(**shop, client=client)
same((held.status_code, type(held.parsed)), (409, Error))
same(set_paused.sync(**shop, client=client, body=SetPaused(paused=False)), Message(message="Pause set."))
done = roll_back.sync(**shop, client=client, body=Rollback(revision=1), prefer="return=representation")
same((type(done), done.revision, done.changed), (RolledBack, 1, True))
same(get_containers.sync(**shop, client=client).containers[0].image, "example.org/shop:1")
nowhere = roll_back.sync_detailed(**shop, client=client, body=Rollback(revision=99))
same((nowhere.status_code, type(nowhere.parsed)), (404, Error))
print("all as documented")
