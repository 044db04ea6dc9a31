# Noisescope in a container: CUDA by default, CPU with --build-arg TORCH=cpu.
#   docker build -t noisescope .
#   docker run --rm -p 8501:8501 -v noisescope:/data noisescope            (add --gpus all for a GPU)
FROM python:3.11.13-slim-bookworm

# cuda: the build that the package index serves; cpu: PyTorch's own index of CPU builds, a tenth of the size.
ARG TORCH=cuda

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    NOISESCOPE_STORE=/data

WORKDIR /srv/noisescope
COPY requirements.txt pyproject.toml README.md LICENSE ./
RUN if [ "$TORCH" = cpu ]; then pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu; fi \
    && pip install -r requirements.txt
COPY analysis analysis
COPY app app
COPY assets assets
COPY .streamlit .streamlit
RUN pip install --no-deps --editable . \
    && useradd --create-home --uid 1000 noisescope \
    && mkdir /data && chown noisescope /data

USER noisescope
VOLUME ["/data"]
EXPOSE 8501
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD python -c "import urllib.request as u; u.urlopen('http://127.0.0.1:8501/_stcore/health', timeout=4)"
CMD ["streamlit", "run", "app/main.py", "--server.port=8501", "--server.address=0.0.0.0", "--server.headless=true"]
