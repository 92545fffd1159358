"""Labels: kept by stretch and source, on both databases."""

from tests.support.workspaces import parse_time
from training.storage.labels import Label, LabelStore

NIGHT = (parse_time("2026-01-01T22:00"), parse_time("2026-01-02T04:00"))


def test_a_label_comes_back_as_it_was_given(engine):
    label = Label("PT-1", *NIGHT, anomalous=True, source="anna")

    LabelStore(engine).add([label])

    assert LabelStore(engine).of("PT-1") == (label,)


def test_the_same_source_may_change_its_mind(engine):
    store = LabelStore(engine)

    store.add([Label("PT-1", *NIGHT, anomalous=True)])
    store.add([Label("PT-1", *NIGHT, anomalous=False)])

    assert [label.anomalous for label in store.of("PT-1")] == [False]


def test_two_sources_may_disagree(engine):
    store = LabelStore(engine)

    store.add(
        [Label("PT-1", *NIGHT, anomalous=said, source=who) for who, said in (("a", True), ("b", False))]
    )

    assert {(label.source, label.anomalous) for label in store.of("PT-1")} == {("a", True), ("b", False)}


def test_labels_come_in_order_of_time_and_of_one_sensor_only(engine):
    store = LabelStore(engine)
    later, earlier = parse_time("2026-02-01"), parse_time("2026-01-01")

    store.add([Label("PT-1", later, later, True), Label("PT-1", earlier, earlier, True)])
    store.add([Label("PT-2", earlier, earlier, True)])

    assert [label.start for label in store.of("PT-1")] == [earlier, later]
    assert store.of("PT-9") == ()
