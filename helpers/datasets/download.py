"""COCO's annotations and photos from its server, as far as they are not on disk."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from urllib.parse import quote, urlsplit

import requests
import urllib3
from remotezip import RemoteIOError, RemoteZip, RemoteZipError
from requests.adapters import HTTPAdapter

from helpers.datasets.annotations import Split, read_split
from helpers.datasets.folders import check_photos, checked, digest, slug_of
from helpers.datasets.records import ImageDataset, ImageRecord, is_id
from helpers.files import remove_leftovers, written_whole
from helpers.images import open_photo
from helpers.neighbours import proxy_variable
from helpers.progress import track
from helpers.settings import COCO_BASE_URL, TutorialError, load_settings, masked, typed_path

ANIMALS = ("bear", "bird", "cat", "dog", "giraffe", "horse", "sheep", "zebra")
"""The classes of the article's photos."""
COCO_SPLITS = ("train2017", "val2017")
CONNECTIONS = 8
ATTEMPTS = 4
BACKOFF_S = 0.5
TIMEOUT_S = (5, 30)  # to connect, between two packets
MIB = 2**20
PHOTO_BYTES = 64 * MIB  # COCO's largest has 1
ANNOTATION_BYTES = 2048 * MIB  # COCO's largest unpacks to 450


def fetch_coco(
    classes: Sequence[str] = ANIMALS,
    per_class: int = 25,
    split: str = "val2017",
    base_url: str | None = None,
    folder: Path | None = None,
    progress: bool = True,
) -> ImageDataset:
    """A subset of COCO; annotations and photos that are not on disk yet are downloaded.

    For each class in turn the `per_class` photos with the lowest ids that show it and are not yet
    taken; `classes="all"` takes the whole split. `base_url` (default: COCO_BASE_URL) serves
    `annotations/annotations_trainval2017.zip`, of which only the split's part is read, and
    `<split>/<file_name>`. `folder` (default: `coco` in DATA_DIR) keeps what was fetched in the
    same layout.

    Raises TutorialError if the server fails or sends something else, when running again resumes,
    and for a selection or an address that cannot be.
    """
    settings = load_settings()
    base_url = web_address(base_url or settings.coco_base_url)
    folder = typed_path(folder or settings.data_dir / "coco")
    if split not in COCO_SPLITS:
        raise TutorialError(f"COCO has no split {split!r}: use one of {', '.join(COCO_SPLITS)}.")
    file = folder / "annotations" / f"instances_{split}.json"
    for place in (file.parent, folder / split):
        remove_leftovers(place)
    with _session() as session:
        if not file.is_file():
            _fetch_annotations(session, base_url, file, progress)
        selection = _select(read_split(file), classes, per_class)
        _, problems = check_photos(folder, selection, progress=progress)
        _fetch_photos(session, base_url, folder, sorted(problems), progress)
    return checked(folder, selection, progress)


def _select(split: Split, classes: Sequence[str], per_class: int) -> ImageDataset:
    """The photos a selection names, by id, before they are known to exist."""
    folder = split.file.parents[1] / split.file.stem.removeprefix("instances_")
    records = {
        key: ImageRecord(key, folder / name, split.labels[key])
        for key, name in split.names.items()
        if is_id(key)
    }
    taken: set[int] = set()
    short = []
    if classes == "all":
        kind, taken = "all", set(records)
    else:
        classes = (classes,) if isinstance(classes, str) else tuple(classes)
        if unknown := [name for name in classes if name not in split.categories]:
            raise TutorialError(
                f"COCO has no class {unknown[0]!r}: use "
                f"{', '.join(sorted(split.categories))} or classes='all'."
            )
        if per_class < 1 or not classes:
            raise TutorialError("Select at least one class and one photo per class.")
        animals = classes == ANIMALS and per_class == 25
        kind = "animals" if animals else f"{'-'.join(classes)}-{per_class}"
        by_id = [records[id_] for id_ in sorted(records)]
        for name in classes:
            having = [r.id for r in by_id if name in r.labels and r.id not in taken][:per_class]
            taken.update(having)
            if len(having) < per_class:
                short.append(f"{name} {len(having)}")
    ids = sorted(taken)
    name = f"coco-{folder.name}-{kind}"
    note = f"Fewer than {per_class} photos each of: {', '.join(short)}." if short else ""
    return ImageDataset(
        name=name,
        slug=f"{slug_of(name)}_{digest(str(ids))}",
        records=tuple(records[id_] for id_ in ids),
        note=note,
        objects={id_: split.objects[id_] for id_ in ids},
    )


def web_address(url: str) -> str:
    """An address that begins with http(s)://host, without a trailing slash, or a TutorialError."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and parts.port != 0
        usable = usable and bool(parts.hostname and parts.hostname.encode("idna"))
    except ValueError:
        usable = False
    if not usable:  # not shown, because where its password begins is not known
        raise TutorialError(
            "COCO_BASE_URL is not the address of a web server: set it to one such as "
            f"{COCO_BASE_URL}, which begins with http:// or https://, or unset it."
        )
    return url.rstrip("/")


def _session() -> requests.Session:
    """A session that tries again, more and more slowly, and follows no redirect."""
    retry = urllib3.Retry(
        total=ATTEMPTS,
        backoff_factor=BACKOFF_S,
        status_forcelist=(429, 500, 502, 503, 504),
        raise_on_status=False,
    )
    session = requests.Session()
    session.headers["Accept-Encoding"] = "identity"  # JPEG and zip are compressed already
    adapter = HTTPAdapter(max_retries=retry, pool_maxsize=CONNECTIONS)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _fetch_annotations(
    session: requests.Session, base_url: str, file: Path, progress: bool
) -> None:
    """Read one member out of the remote archive by range requests (5 of 241 MB for val2017)."""
    url = f"{base_url}/annotations/annotations_trainval2017.zip"
    member = f"annotations/{file.name}"
    try:
        with (
            written_whole(file) as part,
            RemoteZip(url, session=session, timeout=TIMEOUT_S, allow_redirects=False) as archive,
            archive.open(member) as source,
            part.open("wb") as target,
        ):
            size = archive.getinfo(member).file_size  # no more than that is unpacked
            if size > ANNOTATION_BYTES:
                raise zipfile.BadZipFile(f"{member} unpacks to {size // MIB} MiB")
            pieces = math.ceil(size / MIB)
            blocks = iter(partial(source.read, MIB), b"")
            for block in track(
                blocks, total=pieces, unit="MiB", label="annotations", enabled=progress
            ):
                target.write(block)
    except (
        OSError,
        urllib3.exceptions.HTTPError,
        RemoteZipError,
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        KeyError,
    ) as error:
        raise _fetch_error(url, error, "nothing is kept") from None


def _fetch_photos(
    session: requests.Session, base_url: str, folder: Path, paths: Sequence[Path], progress: bool
) -> None:
    """Fetch photos to `<folder>/<split>/<name>`, eight at a time; the first failure ends it."""

    def url(path: Path) -> str:
        return f"{base_url}/{quote(path.relative_to(folder).as_posix())}"

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        pending = {pool.submit(_fetch_photo, session, url(path), path): path for path in paths}
        done = 0
        try:
            for future in track(
                as_completed(pending),
                total=len(paths),
                unit="photos",
                label="downloading",
                enabled=progress,
            ):
                future.result()
                done += 1
        except OSError as error:
            kept = f"{done} of {len(paths)} missing photos are fetched"
            raise _fetch_error(url(pending[future]), error, kept) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _fetch_photo(session: requests.Session, url: str, path: Path) -> None:
    """Put a photo in its place once it is complete and decodes; a damaged body is tried again."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            with (
                session.get(url, timeout=TIMEOUT_S, allow_redirects=False, stream=True) as response,
                written_whole(path) as part,
            ):
                if response.status_code != 200:
                    raise requests.HTTPError(f"the server answers {response.status_code}")
                _save_photo(response, part)
            return
        except (_BrokenOff, _NoPhoto):
            if attempt == ATTEMPTS:
                raise


class _BrokenOff(requests.RequestException):
    """A body that ended too early, or whose rest did not come in time."""


class _NoPhoto(requests.RequestException):
    """A whole body that is no photo."""


def _save_photo(response: requests.Response, part: Path) -> None:
    try:
        with part.open("wb") as file:
            for block in response.iter_content(MIB):
                file.write(block)
                if file.tell() > PHOTO_BYTES:
                    raise requests.RequestException(f"it sends more than {PHOTO_BYTES // MIB} MiB")
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        raise _BrokenOff("the transfer broke off") from error
    try:
        open_photo(part)
    except TutorialError as error:
        raise _NoPhoto("what it sends is no readable photo") from error


def _fetch_error(url: str, error: Exception, kept: str) -> TutorialError:
    """What failed, without the user and password that `url` and the error's text may hold."""
    if isinstance(error, RemoteIOError):  # holds only the text of what it was raised for
        error = error.__context__
    if isinstance(error, urllib3.exceptions.HTTPError):
        reason = "the transfer broke off"
    elif isinstance(error, requests.exceptions.ProxyError):
        scheme, host = url.partition(":")[0], urlsplit(url).hostname
        names = (f"{scheme}_proxy", f"{scheme.upper()}_PROXY", "all_proxy", "ALL_PROXY")
        variable = proxy_variable(host, *names)  # None where it is macOS' own setting
        named = f" in {variable}" if variable else ""
        reason = f"the proxy{named} does not pass the request on"
    elif isinstance(error, requests.ConnectionError):
        reason = "the server cannot be reached"
    elif isinstance(error, requests.Timeout):
        reason = "the server does not answer in time"
    else:
        reason = masked(str(error)).rstrip(".")
        reason = reason or type(error).__name__
    return TutorialError(
        f"{masked(url)} could not be fetched ({reason}); {kept}: run again to resume, "
        "set COCO_BASE_URL to another server, or DATASET=sample to do without."
    )


def coco_is_complete(folder: Path) -> bool:
    file = folder / "annotations" / "instances_val2017.json"
    if not file.is_file():
        return False
    return all(record.path.is_file() for record in _select(read_split(file), ANIMALS, 25))
