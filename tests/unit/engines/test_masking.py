"""What may never be shown, whatever a program writes."""

from sidecar.backrest.reading import Repo, RunPlan
from sidecar.engines.access import resolve_access
from sidecar.engines.masking import Masking, masking_of
from sidecar.lib.text import MASK


def test_secrets_are_masked_in_every_spelling() -> None:
    """As they stand, in an address, in JSON and in quotes; long ones before their parts."""
    masking = Masking('p@ss/"w', ["secret", "secret-long", "first line\nsecond line", "abc"])
    texts = ['p@ss/"w', "p%40ss%2F%22w", 'p@ss/\\"w', "secret-long", "second line"]

    assert [MASK] * len(texts) == [masking.mask(text) for text in texts]
    assert "abc" == masking.mask("abc")


def test_short_password_is_masked_as_a_word() -> None:
    """Anything else would make holes in every text."""
    assert f"a {MASK}, backup" == Masking("a").mask("a a, backup").replace(
        f"{MASK} {MASK}", f"a {MASK}"
    )
    assert "backup" == Masking("a").mask("backup")
    assert "backup" == Masking("").mask("backup")


def test_all_of_a_repository_that_is_secret_is_masked() -> None:
    """Password, variables and flags that say so, addresses; the plan's secret flags."""
    repo = Repo(
        "r",
        uri="rest:https://user:uri-secret@host/path",
        password="the-password",
        env=(("KEY", "env-secret"), ("REF", "${GIVEN_TOKEN}"), ("AT", "http://u:proxy-pw@h/")),
        flags=("-o s3.key=flag-secret --header 'flag word'",),
    )
    plan = RunPlan("p", "r", backup_flags=("--password-command=plan-secret", "--tag visible"))
    access = resolve_access(repo, {"GIVEN_TOKEN": "given-secret"})
    text = (
        "the-password env-secret given-secret proxy-pw flag-secret flag word uri-secret plan-secret"
        " visible host --header s3.key"
    )
    expected = f"{' '.join([MASK] * 8)} visible host --header s3.key"

    assert expected == masking_of(repo, access, plan).mask(text)
    assert f"{MASK} {MASK} g" == masking_of(repo, None).mask("the-password env-secret g")


def test_values_of_plain_variables_and_options_stay_readable() -> None:
    """They occur in any text: the name of a region, `auto`, a folder, a file with a password."""
    env = {
        "AWS_DEFAULT_REGION": "eu-central-1",
        "RESTIC_COMPRESSION": "auto",
        "RESTIC_PASSWORD_FILE": "/run/secrets/restic",
        "GOOGLE_APPLICATION_CREDENTIALS": "/run/secrets/gcs.json",
        "TMPDIR": "/data",
    }
    flags = ("--pack-size 1024", "-o s3.region=eu-central-1 --cacert=/ca.pem", "--no-cache")
    repo = Repo("r", uri="s3:https://host/bucket", env=tuple(env.items()), flags=flags)
    plan = RunPlan("p", "r", backup_flags=("--tag visible", "--host=somewhere"))
    text = " ".join((*env.values(), *flags, "visible somewhere bucket"))

    assert text == masking_of(repo, resolve_access(repo, {}), plan).mask(text)


def test_the_secrets_of_an_rclone_remote_in_the_address_are_masked() -> None:
    """Its parameters stand in the address itself."""
    uri = 'rclone::s3,provider=Minio,access_key_id=first-one,secret_access_key="second,one":bucket'
    masking = masking_of(Repo("r", uri=uri), None)

    assert f"Minio {MASK} {MASK} bucket" == masking.mask("Minio first-one second,one bucket")


def test_a_value_without_an_option_is_masked() -> None:
    """Nobody knows what it is."""
    repo = Repo("r", uri="/r", flags=("unexpected",))

    assert MASK == masking_of(repo, resolve_access(repo, {})).mask("unexpected")


def test_what_is_quoted_is_masked_without_its_quotes() -> None:
    """Programs show the words that they got; what cannot be split is masked as it stands."""
    plan = RunPlan("p", "r", backup_flags=("--password-command='echo secret'", "--key-hint 'open"))

    masking = masking_of(Repo("r"), None, plan)

    assert f"{MASK} {MASK}" == masking.mask("echo secret 'open")


def test_an_address_that_is_none_is_no_obstacle() -> None:
    """Masking never fails."""
    assert "x" == masking_of(Repo("r", uri="rest:http://[::1"), None).mask("x")
