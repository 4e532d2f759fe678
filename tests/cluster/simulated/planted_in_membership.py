"""Planted bugs of the agent and the tracker. See `planted_bugs`."""

from __future__ import annotations

from tests.cluster.simulated.planting import Bug, Edit

AGENT = (
    Bug(
        "fetches_not_said_again",
        "to tell a new downloader what there is to download",
        (Edit("node.agent.core:AgentCore._hello", " *self.gets.fetches(),", ""),),
        seed=3,
    ),
    Bug(
        "shares_not_said_again",
        "to tell a new piece server what is shared",
        (
            Edit(
                "node.agent.core:AgentCore._hello",
                "wishes += self.catalogue.share_state(self.who.instance, self.who.peer, self.serving)",
                "pass",
            ),
        ),
        seed=0,
    ),
    Bug(
        "download_not_saved",
        "to write down in the library what is to be downloaded",
        (Edit("node.agent.gets:Gets._begin", "return [SaveDownload(download)]", "return self.saved(download)"),),
        seed=1,
    ),
    Bug(
        "finished_is_kept",
        "that a download that is complete is none any more",
        (Edit("node.agent.gets:Gets.finished", ", ForgetDownload(download.dest)]", "]"),),
        seed=1,
    ),
    Bug(
        "rejoin_ignored",
        "to join again when the registrar does not know this peer any more",
        (
            Edit(
                "node.agent.membership:Membership._on_rejoin", "return [note, *self._begin_join(now)]", "return [note]"
            ),
        ),
        seed=0,
    ),
    Bug(
        "news_while_listing_lost",
        "that a list may change while it is being sent",
        (
            Edit(
                "node.agent.announced:ToldList.snapshot",
                "self._snapshot = self._announced.entries()",
                "self._snapshot = self._snapshot or self._announced.entries()",
            ),
        ),
        seed=6,
    ),
    Bug(
        "news_to_the_first_tracker_only",
        "that each tracker is told of every change",
        (Edit("node.agent.announced:AnnouncedList._tell", "for told in self.told:", "for told in self.told[:1]:"),),
        seed=180,
    ),
    Bug(
        "joins_the_first_tracker_only",
        "to join every tracker",
        (
            Edit(
                "node.agent.core:AgentCore._hello",
                "self.trackers.each(lambda one: one.membership.set_endpoint(endpoint, now))",
                "self.trackers.all[0].of(self.trackers.all[0].membership.set_endpoint(endpoint, now))",
            ),
        ),
        seed=9,
    ),
    Bug(
        "first_answer_counts",
        "that one tracker may know what another does not",
        (Edit("node.agent.questions:merge", "if not others:", "if True:"),),
        seed=21,
    ),
    Bug(
        "last_answer_counts",
        "the same, with the last one",
        (
            Edit(
                "node.agent.questions:merge",
                "if not others:\n        return first",
                "if True:\n        return answers[-1]",
            ),
        ),
        seed=380,
    ),
    Bug(
        "first_tracker_is_asked",
        "to ask every tracker",
        (
            Edit(
                "node.agent.questions:Questions._put",
                "for tracker in self._trackers",
                "for tracker in self._trackers[:1]",
            ),
        ),
        seed=21,
    ),
    Bug(
        "timestamp_not_told_to_the_others",
        "that all trackers are to say when something was announced",
        (Edit("node.agent.announced:AnnouncedList.dated", "if moment > known:", "if False:"),),
        seed=None,
    ),
    Bug(
        "seeders_asked_for_once",
        "to ask again who has the content",
        (Edit("node.agent.lookups:Lookups._release", "wanted.question = 0", "pass"),),
        seed=24,
    ),
    Bug(
        "silent_lookup_is_kept",
        "to turn to another lookup when one does not answer",
        (
            Edit("node.agent.lookups:Lookups.tick", "effects += self._dial(self._following(), now)", "pass"),
            Edit(
                "node.agent.lookups:Lookups.disconnected", "return effects + self._dial(self._following(), now)", "pass"
            ),
        ),
        seed=None,
    ),
    Bug(
        "roster_of_another_epoch",
        "that a registrar which was restarted counts from the start again",
        (
            Edit("node.agent.roster:RosterFollower.handle", "roster.epoch != self.epoch or ", ""),
            Edit("node.agent.roster:RosterFollower.start", "if epoch != self.epoch:", "if seq > self.seq:"),
        ),
        seed=6,
    ),
)

TRACKER = (
    Bug(
        "leases_do_not_end",
        "to forget who is silent for a lease",
        (Edit("broker.registrar_core:Registrar.tick", "self._sessions.expired(now)", "()"),),
        seed=0,
    ),
    Bug(
        "lease_too_long",
        "that the lease counts from when the peer was heard of, not from when it ended last",
        (Edit("broker.sessions:Sessions.renew", "now + self._lease_seconds", "now + 2 * self._lease_seconds"),),
        seed=0,
    ),
    Bug(
        "gone_peer_keeps_its_entries",
        "to take the entries of a peer with it when it goes",
        (Edit("broker.registry:Registry._drop_peer", "self._drop_entry(peer, digest)", "pass"),),
        seed=0,
    ),
    Bug(
        "goodbye_unsaid_to_lookups",
        "to tell the lookups that a peer is gone",
        (
            Edit(
                "broker.link_feed:_Link.add",
                "if event.peer not in self.unread)",
                "if event.peer not in self.unread and type(event) is not PeerGone)",
            ),
        ),
        seed=0,
    ),
    Bug(
        "token_unchecked",
        "to compare the token of a request with the one the member joined with",
        (Edit("broker.registrar_core:Registrar.handle", "if not session.accepts(message.token):", "if False:"),),
        seed=59,
    ),
    Bug(
        "replaced_run_accepted",
        "that a run after which another one joined is a member no more",
        (Edit("broker.registrar_core:Registrar.handle", "if message.run in session.replaced:", "if False:"),),
        seed=18,
    ),
    Bug(
        "link_loss_unnoticed",
        "that a link may lose messages: at the registrar when a queue is full, at the lookup when a number is missing",
        (
            Edit("broker.link_feed:LinkFeed.lost", "link is None", "True"),
            Edit("broker.replica:Replica._at", "if number == self._received:", "if True:"),
        ),
        seed=93,
    ),
    Bug(
        "half_a_change_set",
        "that a change set shows only when all of it is there",
        (Edit("broker.replica:Replica._take", "if not message.more:", "if True:"),),
        seed=23,
    ),
    Bug(
        "state_page_before_changes",
        "that changes which wait are older than the state that is read now",
        (
            Edit(
                "broker.link_feed:LinkFeed._pump",
                "if link.queue:",
                "if link.queue and not link.loading:",
            ),
        ),
        seed=None,
    ),
    Bug(
        "lookup_ignores_the_epoch",
        "that a number means nothing without the registrar's epoch",
        (
            Edit(
                "broker.lookup_core:Lookup._ready_for",
                "if request.epoch in (0, replica.epoch):",
                "if True:",
            ),
        ),
        seed=115,
    ),
    Bug(
        "partial_sources_unlisted",
        "that who has part of the content is a source too",
        (
            Edit(
                "broker.queries:Answers._seeder_list",
                "seeders = list(sources.values())",
                "seeders = [seeder for seeder in sources.values() if seeder.whole]",
            ),
        ),
        seed=0,
    ),
    Bug(
        "page_taken_twice",
        "that a page of a list may come twice",
        (
            Edit(
                "broker.registrar_core:Registrar._file_list",
                "if message.page < transfer.next_page:",
                "if False:",
            ),
        ),
        seed=None,
    ),
)
