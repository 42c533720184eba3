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

from helpers.datasets.annotations import read_split
from helpers.datasets.folders import check_photos, checked, short_digest, slug_of
from helpers.datasets.records import ImageDataset, ImageRecord, is_id
from helpers.files import remove_leftovers, written_whole
from helpers.images import open_photo
from helpers.neighbours import proxy_variable
from helpers.progress import track
from helpers.settings import COCO_BASE_URL, TutorialError, load_settings, masked

ANIMALS = ("bear", "bird", "cat", "dog", "giraffe", "horse", "sheep", "zebra")
"""The classes of the article's photos."""
PER_CLASS = 25
SPLIT = "val2017"
CONNECTIONS = 8
ATTEMPTS = 4
BACKOFF_S = 0.5
TIMEOUT_S = (5, 30)  # to connect, between two packets
MIB = 2**20
PHOTO_BYTES = 64 * MIB  # COCO's largest has 1
ANNOTATION_BYTES = 2048 * MIB  # COCO's largest unpacks to 450
BAD_ARCHIVE = (RemoteZipError, zipfile.BadZipFile, zlib.error, EOFError, KeyError)


def fetch_coco(everything: bool = False) -> ImageDataset:
    """The article's subset of COCO, or the whole split; what is not on disk yet is downloaded.

    For each of ANIMALS in turn the 25 photos with the lowest ids that show it and are not yet
    taken. COCO_BASE_URL serves `annotations/annotations_trainval2017.zip`, of which only the
    split's part is read, and `val2017/<file_name>`; `coco` in DATA_DIR keeps them in that layout.

    Raises TutorialError if the server fails or sends something else, when running again resumes,
    and for an address that cannot be.
    """
    settings = load_settings()
    base_url, folder = web_address(settings.coco_base_url), settings.data_dir / "coco"
    file = _annotation_file(folder)
    for place in (file.parent, folder / SPLIT):
        remove_leftovers(place)
    with _retrying_session() as session:
        if not file.is_file():
            _fetch_annotations(session, base_url, file)
        selection = _select(folder, everything)
        _, problems = check_photos(folder, selection)
        _fetch_photos(session, base_url, folder, sorted(problems))
    return checked(folder, selection)


def coco_is_complete() -> bool:
    """Whether the article's subset is on disk."""
    folder = load_settings().data_dir / "coco"
    if not _annotation_file(folder).is_file():
        return False
    return all(path.is_file() for path in _select(folder, everything=False).paths)


def _annotation_file(folder: Path) -> Path:
    return folder / "annotations" / f"instances_{SPLIT}.json"


def _select(folder: Path, everything: bool) -> ImageDataset:
    """The photos by id, before they are known to exist."""
    split = read_split(_annotation_file(folder))
    ids, short = sorted(filter(is_id, split.names)), []
    if not everything:
        taken: set[int] = set()
        for name in ANIMALS:
            having = [id_ for id_ in ids if name in split.labels[id_] and id_ not in taken]
            taken.update(having[:PER_CLASS])
            short += [f"{name} {len(having)}"] if len(having) < PER_CLASS else []
        ids = sorted(taken)
    name = f"coco-{SPLIT}-{'all' if everything else 'animals'}"
    records = [
        ImageRecord(id_, folder / SPLIT / split.names[id_], frozenset(split.labels[id_]))
        for id_ in ids
    ]
    return ImageDataset(
        name=name,
        slug=f"{slug_of(name)}_{short_digest(str(ids))}",
        records=tuple(records),
        note=f"Fewer than {PER_CLASS} photos each of: {', '.join(short)}." if short else "",
        objects={id_: tuple(split.objects[id_]) for id_ in ids},
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


def _retrying_session() -> requests.Session:
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


def _fetch_annotations(session: requests.Session, base_url: str, file: Path) -> None:
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
            pieces, blocks = math.ceil(size / MIB), iter(partial(source.read, MIB), b"")
            for block in track(blocks, total=pieces, unit="MiB", label="annotations"):
                target.write(block)
    except (OSError, urllib3.exceptions.HTTPError, *BAD_ARCHIVE) as error:
        raise _fetch_error(url, error, "nothing is kept") from None


def _fetch_photos(
    session: requests.Session, base_url: str, folder: Path, paths: Sequence[Path]
) -> None:
    """Fetch photos to `<folder>/<split>/<name>`, eight at a time; the first failure ends it."""

    def url(path: Path) -> str:
        return f"{base_url}/{quote(path.relative_to(folder).as_posix())}"

    with ThreadPoolExecutor(CONNECTIONS) as pool:
        pending = {pool.submit(_fetch_photo, session, url(path), path): path for path in paths}
        ended, done = as_completed(pending), 0
        try:
            for future in track(ended, total=len(paths), unit="photos", label="downloading"):
                future.result()
                done += 1
        except OSError as error:
            kept = f"{done} of {len(paths)} missing photos are fetched"
            raise _fetch_error(url(pending[future]), error, kept) from None
        finally:
            pool.shutdown(cancel_futures=True)


class _Damaged(requests.RequestException):
    """A body that broke off or is no photo; the next one may be whole."""


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
        except _Damaged:
            if attempt == ATTEMPTS:
                raise


def _save_photo(response: requests.Response, part: Path) -> None:
    try:
        with part.open("wb") as file:
            for block in response.iter_content(MIB):
                file.write(block)
                if file.tell() > PHOTO_BYTES:
                    raise requests.RequestException(f"it sends more than {PHOTO_BYTES // MIB} MiB")
        open_photo(part)
    except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
        raise _Damaged("the transfer broke off") from error
    except TutorialError as error:
        raise _Damaged("what it sends is no readable photo") from error


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
        reason = masked(str(error)).rstrip(".") or type(error).__name__
    return TutorialError(
        f"{masked(url)} could not be fetched ({reason}); {kept}: run again to resume, "
        "set COCO_BASE_URL to another server, or DATASET=sample to do without."
    )
