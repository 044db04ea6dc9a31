"""Page config and navigation; nothing else."""

import streamlit as st

from analysis import catalog

st.set_page_config(page_title="Noisescope", page_icon=catalog.assets("icon.png"), layout="wide")
st.navigation([st.Page("app_pages/start.py", title="Start", default=True)]).run()
