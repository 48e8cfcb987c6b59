"""docs/proofs.md says what is proved: each proof has its row, each row its proof, and each proof can fail."""

from proofs import all_proofs, documented


def test_the_table_is_what_is_proved():
    proofs = sorted((p.component, p.claim, p.method) for p in all_proofs())
    assert [row[:3] for row in documented()] == proofs
    assert len({component for component, _, _ in proofs}) == len(proofs), "a component's name twice"


def test_each_component_has_a_planted_fault():
    """Sizes of one component are proved from one specification: a fault in one of them will do."""
    planted = {p.subject for p in all_proofs() if p.faults}
    assert planted == {p.subject for p in all_proofs() if p.mode != "cover"}
