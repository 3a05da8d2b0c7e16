"""What is known of job `counting`."""

from jobs.counting_variant import VARIANT

from jobs.spec import TRANSACTIONS, Health, JobSpec, Output, StatePart, UpgradePolicy

NAME = VARIANT["name"]

SPEC = JobSpec(
    name=NAME,
    purpose="counts numbers",
    module="jobs.counting",
    inputs=(f"{NAME}-numbers",),
    writes=(
        Output(f"{NAME}-answers", harmless=False, again="a number may be counted twice"),
        Output(f"{NAME}-refused", harmless=False, again="a number may be refused twice"),
    ),
    mode=VARIANT["mode"],
    max_parallelism=VARIANT["max_parallelism"] or 720,
    state=(
        StatePart("numbers", "kafka-offsets/1", "how far the numbers are read"),
        StatePart(VARIANT["uid"], f"count-{VARIANT['form'] or VARIANT['state']}/1", "the counts"),
        StatePart("answers", f"{TRANSACTIONS}/1", "open transactions of the answers"),
        StatePart("refused", f"{TRANSACTIONS}/1", "open transactions of what is refused"),
    ),
    parallelism_setting="ingest_parallelism",
    settings=("checkpoint_seconds",),
    health=Health(judged=("sluice.events_in",), refused=("sluice.events_refused",)),
    upgrade=UpgradePolicy(checkpoints=2, watch_seconds=5, give_up_seconds=60),
    lanes=True,
)
