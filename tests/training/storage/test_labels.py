"""Labels: stored by interval and source, on both databases."""

from tests.support.workspaces import parse_time
from training.storage.labels import Label, LabelStore

NIGHT = (parse_time("2026-01-01T22:00"), parse_time("2026-01-02T04:00"))


def test_a_stored_label_is_read_unchanged(engine):
    label = Label("PT-1", *NIGHT, anomalous=True, source="anna")

    LabelStore(engine).add([label])

    assert LabelStore(engine).of("PT-1") == (label,)


def test_a_source_can_replace_its_label(engine):
    store = LabelStore(engine)

    store.add([Label("PT-1", *NIGHT, anomalous=True)])
    store.add([Label("PT-1", *NIGHT, anomalous=False)])

    assert [label.anomalous for label in store.of("PT-1")] == [False]


def test_two_sources_may_disagree(engine):
    store = LabelStore(engine)

    store.add([Label("PT-1", *NIGHT, anomalous=True, source="a")])
    store.add([Label("PT-1", *NIGHT, anomalous=False, source="b")])

    assert {(label.source, label.anomalous) for label in store.of("PT-1")} == {("a", True), ("b", False)}


def test_the_labels_of_a_sensor_are_in_order_of_time(engine):
    store = LabelStore(engine)
    later, earlier = parse_time("2026-02-01"), parse_time("2026-01-01")

    store.add([Label("PT-1", later, later, True), Label("PT-1", earlier, earlier, True)])
    store.add([Label("PT-2", earlier, earlier, True)])

    assert [label.start for label in store.of("PT-1")] == [earlier, later]
    assert store.of("PT-9") == ()
