# Darkroom as an image: `docker build --target cuda -t darkroom .`, or `--target cpu`. See docs/machines.md#containers.

FROM python:3.11-slim-bookworm AS wheel
WORKDIR /source
COPY . .
RUN pip install --no-cache-dir --constraint constraints.txt build hatchling \
    && python -m build --wheel --no-isolation --outdir /wheel

# What both images have. Runs, data and downloaded models are volumes; nobody is root.
FROM python:3.11-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 HF_HOME=/workspace/models
RUN useradd --create-home --uid 1000 darkroom \
    && install --directory --owner darkroom --group darkroom /workspace /workspace/runs /workspace/data /workspace/models
COPY constraints.txt /opt/constraints.txt
COPY --from=wheel /wheel /opt/wheel
WORKDIR /workspace
ENTRYPOINT ["darkroom"]
CMD ["doctor"]

# torch without CUDA: a tenth of the size.
FROM base AS cpu
RUN pip install --no-cache-dir --constraint /opt/constraints.txt --index-url https://download.pytorch.org/whl/cpu torch \
    && pip install --no-cache-dir --constraint /opt/constraints.txt /opt/wheel/*.whl
USER darkroom

# torch's own wheels bring the CUDA libraries; the host gives the driver (NVIDIA Container Toolkit).
FROM base AS cuda
RUN wheel=$(ls /opt/wheel/*.whl) \
    && pip install --no-cache-dir --constraint /opt/constraints.txt "${wheel}[gpu]"
USER darkroom
