"""The XML is the contract."""

import pytest

from helpers.bus_service import CONTRACT, THING
from musterd.bus.contract import Contract


def test_members_have_their_signatures() -> None:
    contract = Contract([CONTRACT.read_text()])
    test = contract.interfaces["org.example.Test"]
    assert test.methods["TakeFd"].in_signature == "h"
    assert test.signals["Tick"].signature == "us"
    assert contract.interfaces[THING].properties["Size"].signature == "u"


def test_packaged_contract_loads() -> None:
    assert "org.musterd.Muster1.Manager" in Contract.load().interfaces


def test_fd_inside_a_container_is_refused() -> None:
    xml = '<node><interface name="a.b"><method name="M"><arg type="ah"/></method></interface></node>'
    with pytest.raises(ValueError, match="an fd inside"):
        Contract([xml])
