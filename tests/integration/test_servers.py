"""The store, the search and the fusion on a real Milvus 2.3.5 and a real Redis over TCP."""

from helpers.services import connect_milvus, connect_redis


def test_the_environment_leads_to_the_real_servers(real_servers):
    assert "2.3.5" in connect_milvus().get_server_version()
    assert connect_redis().ping()
