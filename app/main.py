"""Page config and navigation; nothing else."""

import streamlit as st

st.set_page_config(page_title="Noisescope", page_icon=":material/blur_on:", layout="wide")
st.navigation([st.Page("app_pages/start.py", title="Start", icon=":material/blur_on:", default=True)]).run()
