"""What is taken along from page to page, also where a page was not drawn to its end."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest


def script() -> None:
    import streamlit as st

    from app.components import link

    page = st.session_state["go"]
    link.arrive(page)
    allowed = {"one": (["a", "b"], ["10", "all"]), "two": (["c", "b"], ["10", "100", "all"])}[page]
    for name, values in zip(("view", "labels"), allowed, strict=True):
        link.start(name, values)
        st.segmented_control(name, values, key=name, required=True, persist_state="session")
        st.write(f"{name}: {st.session_state[name]}")
    if not st.session_state["cut"]:
        link.arrived()


def said(page: AppTest) -> list[str]:
    return [one.value for one in page.markdown]


def visit(cut: bool) -> AppTest:
    page = AppTest.from_function(script, default_timeout=30)
    page.session_state["go"], page.session_state["cut"] = "one", cut
    return page.run()


def test_pages_share_some_widgets_and_have_others_of_their_own() -> None:
    for cut in (False, True):
        page = visit(cut)
        assert said(page) == ["view: a", "labels: 10"]
        page.segmented_control(key="view").set_value("b").run()
        page.segmented_control(key="labels").set_value("all").run()
        assert said(page) == ["view: b", "labels: all"], f"cut: {cut}"
        page.session_state["go"] = "two"
        assert said(page.run()) == ["view: c", "labels: all"], f"cut: {cut}"
        page.session_state["go"] = "one"
        assert said(page.run()) == ["view: b", "labels: all"], f"cut: {cut}"
        assert said(page.run()) == ["view: b", "labels: all"], f"cut: {cut}"


def writing() -> None:
    import streamlit as st

    from app.components import link

    link.arrive("one")
    link.put("run", "a")
    link.put("sigma", None)
    st.write(f"address: {st.query_params.to_dict()}, said: {link.said('run')}, {link.said('sigma')}, {link.said('axis')}")
    link.arrived()


def address(page: AppTest) -> dict[str, str]:
    return {name: value if isinstance(value, str) else value[-1] for name, value in page.query_params.items()}


def test_the_address_is_written_once_when_the_page_is_drawn() -> None:
    page = AppTest.from_function(writing, default_timeout=30)
    page.query_params["sigma"], page.query_params["axis"] = "0.3", "sigma"
    page.run()
    assert said(page) == ["address: {'sigma': '0.3', 'axis': 'sigma'}, said: a, None, sigma"]
    assert address(page) == {"axis": "sigma", "run": "a"}
