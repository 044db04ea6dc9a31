"""Files that take a moment: made by one click, saved by the next."""

from __future__ import annotations

from streamlit.testing.v1 import AppTest

from app.components.files import MADE


def draw() -> None:
    import streamlit as st

    from analysis.errors import NoisescopeError
    from app.components import files

    def make() -> str:
        st.session_state["made"] = st.session_state.get("made", 0) + 1
        if st.session_state.get("broken"):
            raise NoisescopeError("It cannot be made; choose another.")
        return f"text {st.session_state['made']}"

    of = st.text_input("of", "one", key="of")
    files.offer("CSV", make, "a.csv", "text/csv", of, key="csv", icon=":material/table:")
    files.offer("Page", lambda: b"page", "a.html", "text/html", of, key="page", icon=":material/html:")


def labels(page: AppTest) -> list[str]:
    return [button.label for button in page.button]


def saves(page: AppTest) -> list[str]:
    return [one.proto.label for one in page.get("download_button")]


def test_a_file_is_made_when_it_is_asked_for_and_stays_until_something_else_is_shown() -> None:
    page = AppTest.from_function(draw).run()
    assert (labels(page), saves(page), "made" in page.session_state) == (["CSV", "Page"], [], False)
    page.button(key="csv").click().run()
    assert (labels(page), saves(page)) == (["Page"], ["Save CSV, 6 B"])
    page.run()
    assert (saves(page), page.session_state["made"]) == (["Save CSV, 6 B"], 1)
    page.text_input(key="of").set_value("two").run()
    assert (labels(page), saves(page)) == (["CSV", "Page"], [])


def test_one_file_a_session_is_held() -> None:
    page = AppTest.from_function(draw).run()
    page.button(key="csv").click().run()
    page.button(key="page").click().run()
    assert (labels(page), saves(page)) == (["CSV"], ["Save Page, 4 B"])
    assert page.session_state[MADE][2] == b"page"


def test_what_cannot_be_made_is_a_sentence_and_the_button_stays() -> None:
    page = AppTest.from_function(draw).run()
    page.session_state["broken"] = True
    page.button(key="csv").click().run()
    assert [error.value for error in page.error] == ["It cannot be made; choose another."]
    assert (labels(page), saves(page)) == (["CSV", "Page"], [])


def test_a_click_is_not_lost_where_the_page_is_drawn_anew_before_it_comes_to_the_button() -> None:
    def redrawn() -> None:
        import streamlit as st

        from app.components import files

        if st.session_state.pop("anew", False):
            st.rerun()
        files.offer("CSV", lambda: "text", "a.csv", "text/csv", "one", key="csv", icon=":material/table:")

    page = AppTest.from_function(redrawn).run()
    page.session_state["anew"] = True
    page.button(key="csv").click().run()
    assert saves(page) == ["Save CSV, 4 B"]
