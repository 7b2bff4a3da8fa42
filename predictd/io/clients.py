"""The clients of object stores: s3fs, gcsfs and adlfs as predictd sets them up, and their errors in one line.

Credentials, regions and endpoints come from where the clients look for them by themselves, and from nowhere else: they
are in no path, no pickle and no output. Listings are not cached, since many processes write to one place.
"""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from predictd.errors import ConfigError, PredictdError, RemoteError
from predictd.wording import install

# What serves a scheme: the module, and what the store calls its top level.
_MODULES = {
    "s3": "s3fs",
    "gs": "gcsfs",
    **dict.fromkeys(("abfs", "abfss", "az", "wasb", "wasbs"), "adlfs"),
}
SCHEMES = tuple(_MODULES)
# Tries of a request in all, a second or so apart at first and twice as long each time: what passes within a minute does
# no harm, and a store that is not there is reported soon enough. AWS_MAX_ATTEMPTS and AWS_RETRY_MODE win for S3.
_ATTEMPTS = 5
# Errors of the local disk, which a client hands through while it copies files.
_LOCAL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
_NO_CONTAINER = ("NoSuchBucket", "ContainerNotFound", "ContainerBeingDeleted")
# What credentials that were right once lead to: codes of S3, errors of botocore (AWS SSO).
_EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired")
_EXPIRED_ERRORS = ("SSOTokenLoadError", "TokenRetrievalError", "UnauthorizedSSOTokenError")
_NO_CREDENTIALS = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialUnavailableError",
    "DefaultCredentialsError",
    "ProfileNotFound",
)
_NO_ANSWER = (
    "ClientConnectorError",
    "ConnectTimeoutError",
    "EndpointConnectionError",
    "ServiceRequestError",
    "TransportError",
)

_clients: dict[tuple[int, str, str], Any] = {}


def require_client(scheme: str) -> None:
    """Raise ConfigError unless the client of a scheme is installed."""
    if find_spec("fsspec") is None or find_spec(_MODULES[scheme]) is None:
        raise ConfigError(
            f"{scheme}:// paths need fsspec and {_MODULES[scheme]}, which are not installed: "
            f"{install('gcs') if scheme == 'gs' else install('cloud')}"
        )


def client(scheme: str, place: str) -> Any:
    """The fsspec file system of a store, made once in a process.

    Parameters
    ----------
    scheme
        One of SCHEMES.
    place
        Bucket; or container, or container@account.dfs.core.windows.net.

    Raises
    ------
    ConfigError
        If the client is not installed.
    RemoteError
        If it cannot be set up, e.g. since no account is named.
    """
    # Neither threads nor connections outlive a fork.
    key = (os.getpid(), scheme, place.partition("@")[2])
    if key not in _clients:
        require_client(scheme)
        # Of an upload that fails, the parts that are under way fail too, and asyncio would tell of each.
        logging.getLogger("asyncio").addFilter(_is_no_orphan)
        with explained(f"use {scheme}://{place}"):
            _clients[key] = {"s3": _s3, "gs": _google}.get(scheme, lambda: _azure(key[2]))()
    return _clients[key]


def _s3() -> Any:
    from botocore.session import Session
    from s3fs import S3FileSystem

    session = Session()
    retries = {"mode": "standard", "total_max_attempts": _ATTEMPTS}
    for ours, theirs in (("mode", "retry_mode"), ("total_max_attempts", "max_attempts")):
        if session.get_config_variable(theirs) is not None:
            retries[ours] = session.get_config_variable(theirs)
    return S3FileSystem(
        config_kwargs={"retries": retries}, use_listings_cache=False, skip_instance_cache=True
    )


def _google() -> Any:
    from gcsfs.core import GCSFileSystem
    from gcsfs.retry import retry_request

    plain = GCSFileSystem._request.__wrapped__

    class Objects(GCSFileSystem):
        """gcsfs, which lets nobody say how often to try."""

        async def _request(self, *args: Any, **options: Any) -> Any:
            # Here, since it would ask for a token again and again with credentials that have expired.
            self.credentials.maybe_refresh()
            return await retry_request(plain, retries=_ATTEMPTS)(self, *args, **options)

    # It logs each error with its traceback.
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    # Google's own order of credentials, and none besides: gcsfs would go on as nobody where it finds none.
    return Objects(token="google_default", use_listings_cache=False, skip_instance_cache=True)


def _azure(host: str) -> Any:
    from adlfs import AzureBlobFileSystem
    from azure.storage.blob.aio import BlobServiceClient, ExponentialRetry

    class Blobs(AzureBlobFileSystem):
        """adlfs, which lets nobody say how to retry: by default the first retry comes after 15 seconds."""

        service_client: Any

        def do_connect(self) -> None:
            super().do_connect()
            plain = self.service_client
            self.service_client = BlobServiceClient(
                plain.url,
                credential=plain.credential,
                retry_policy=ExponentialRetry(
                    initial_backoff=0, increment_base=2, retry_total=_ATTEMPTS - 1, random_jitter_range=1
                ),
            )

    # The name that Azure's own command line takes is one that adlfs does not know.
    account = host.partition(".")[0] or os.environ.get("AZURE_STORAGE_ACCOUNT") or None
    return Blobs(account_name=account, use_listings_cache=False, skip_instance_cache=True)


def _is_no_orphan(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith(("Task exception was never retrieved", "Unclosed c"))


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn what a client raises while `what` is done into FileNotFoundError, FileExistsError or one line.

    Raises
    ------
    FileNotFoundError, FileExistsError
        If the object is not there, or is there already.
    OSError
        If the local disk is at fault.
    RemoteError
        For everything else.
    """
    try:
        yield
    except (PredictdError, FileExistsError):
        raise
    except Exception as err:
        if isinstance(err, OSError) and err.errno in _LOCAL:
            raise
        raise _explained(what, err) from err


def _explained(what: str, err: Exception) -> Exception:
    chain = list(_chain(err))
    codes = [code for each in chain for code in _codes(each)]
    names = {kind.__name__ for each in chain for kind in type(each).__mro__}
    if any(code in _NO_CONTAINER for code in codes) or "No such container" in str(err):
        return RemoteError(
            f"cannot {what}: there is no such bucket or container; make it, or correct its name"
        )
    if "ConditionalRequestConflict" in codes:
        # Somebody is creating the same object at this moment.
        return FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    if isinstance(err, FileNotFoundError) or "ResourceNotFoundError" in names:
        return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    if names.intersection(_NO_CREDENTIALS) or "Must provide either a connection_string" in str(err):
        return RemoteError(
            f"cannot {what}: no credentials or no account were found; give them as the store's own tools take them "
            "(environment or profile; docs/stores.md)"
        )
    expired = [name for name in (*codes, *names) if name in (*_EXPIRED, *_EXPIRED_ERRORS)]
    if expired:
        return RemoteError(
            f"cannot {what}: the credentials have expired ({expired[0]}); renew them and run the command again"
        )
    # gcsfs has no error of its own for what is forbidden: an OSError of two lines, the second of which says why.
    forbidden = isinstance(err, OSError) and str(err).startswith("Forbidden: ")
    if (
        forbidden
        or isinstance(err, PermissionError)
        or {"401", "403"}.intersection(codes)
        or names.intersection(("ClientAuthenticationError", "RefreshError"))
    ):
        refused = [_line(each) for each in chain if type(each).__name__ == "RefreshError"]
        refused += str(err).splitlines()[1:] if forbidden else []
        code = next((code for code in (*refused, *codes) if not code.isdecimal()), "forbidden")
        return RemoteError(
            f"cannot {what}: the store denies access ({code}); see that the credentials are right, have not expired, "
            "and allow it"
        )
    if names.intersection(_NO_ANSWER):
        return RemoteError(
            f"cannot {what}: the store does not answer ({_line(chain[-1])}); see that it can be reached from here, and "
            "that a configured endpoint is right"
        )
    return RemoteError(
        f"cannot {what}: the store failed ({type(err).__name__}: {_line(err)}); run the command again"
    )


def _chain(err: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came from."""
    seen: set[int] = set()
    while err is not None and id(err) not in seen:
        seen.add(id(err))
        yield err
        err = err.__cause__ or err.__context__


def _codes(err: BaseException) -> Iterator[str]:
    """What the store said: names and HTTP status, from errors of botocore, of azure-core and of gcsfs."""
    response = getattr(err, "response", None)
    if isinstance(response, dict):
        yield str(response.get("Error", {}).get("Code", ""))
        yield str(response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    for name in ("error_code", "status_code", "code"):
        value = getattr(err, name, None)
        if value is not None:
            yield str(getattr(value, "value", value))


def _line(err: BaseException) -> str:
    lines = str(err).strip().splitlines()
    return lines[0][:200] if lines else type(err).__name__
