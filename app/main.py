"""Page config, navigation and what stands on every page; nothing else."""

import streamlit as st

from analysis import catalog
from app.components import dialogs, history, link, runs, style, tray

st.set_page_config(page_title="Noisescope", page_icon=catalog.assets("icon.png"), layout="wide")
page = st.navigation(
    [
        st.Page("app_pages/start.py", title="Start", icon=":material/home:", default=True),
        st.Page("app_pages/curve.py", title="Curve", icon=":material/show_chart:"),
        st.Page("app_pages/image.py", title="Image", icon=":material/image_search:"),
        st.Page("app_pages/ask.py", title="Ask", icon=":material/ads_click:"),
        st.Page("app_pages/map.py", title="Map", icon=":material/scatter_plot:"),
        st.Page("app_pages/generate.py", title="Generate", icon=":material/auto_awesome:"),
        st.Page("app_pages/why.py", title="Why", icon=":material/lightbulb:"),
        st.Page("app_pages/runs.py", title="Runs", icon=":material/folder_open:"),
    ]
)
runs.look()
dialogs.leave()
link.arrive(page.url_path)
history.put(wait=bool(page.url_path))  # Start waits itself
page.run()
link.arrived()
style.put()
with st.sidebar:
    tray.show()
