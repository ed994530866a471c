"""Every writing command with how it is carried out, and what follows from an event."""

from __future__ import annotations

from towerlog.engine.alerts import entries as alert_entries
from towerlog.engine.alerts import reactions as alert_reactions
from towerlog.engine.commands import (
    alerts,
    approvals,
    budgets,
    keys,
    lanes,
    members,
    personas,
    prices,
    reruns,
    runs,
)
from towerlog.engine.commands.acts import acts
from towerlog.engine.commands.acts import alerts as of_alerts
from towerlog.engine.commands.acts import members as of_members
from towerlog.engine.commands.long_histories import keep_parts, needs_of_parts
from towerlog.engine.commit.idempotency import keep_reply, needs_of_reply
from towerlog.engine.commit.turn import Verb
from towerlog.engine.control import cancel, heard, receipts, steering
from towerlog.engine.erasure.verbs import RETENTION_VERBS
from towerlog.engine.ingest.append import append_items
from towerlog.engine.ingest.needs import needs_of_append
from towerlog.engine.load.rows import Needs
from towerlog.engine.plan.fold import Reactions
from towerlog.engine.reactions import approvals as approval_reactions
from towerlog.engine.reactions import budgets as budget_reactions
from towerlog.engine.reactions import cancels, next_runs, sub_agents, threads
from towerlog.engine.reactions import lanes as lane_reactions
from towerlog.engine.repricing.reprice import correct_costs, needs_of_correct
from towerlog.model import command as c
from towerlog.model import member as m
from towerlog.model.alert import AcknowledgeAlert, ChangeRule, CreateRule, DeleteRule, MuteAlert
from towerlog.model.approval import AnswerApproval, MakeAnswerLink
from towerlog.model.budget import ChangeBudget, CreateBudget, DeleteBudget, ReleaseReservation, ReserveBudget
from towerlog.model.delivery import Redeliver, RedeliverFrom
from towerlog.model.persona import CreatePersona, CreateRoute
from towerlog.model.price import CorrectCosts, CreatePrice, DeletePrice
from towerlog.model.principal import Principal

REACTIONS = Reactions(
    on_status=(
        threads.follow_runs,
        lane_reactions.close_lane,
        lane_reactions.free_next,
        approval_reactions.close_ended,
        # After the thread was folded: of its open runs, those are looked at that are left.
        sub_agents.end_below,
        budget_reactions.free_ended,
        # Last: they may ask the run to pause or to end. What a person wants comes before what a budget does.
        next_runs.carry_over,
        next_runs.completed,
        budget_reactions.stop_new,
        alert_reactions.on_status,
    ),
    on_parent=(budget_reactions.join_trees, cancels.cancel_born, alert_entries.on_parent),
    on_thread=(budget_reactions.join_thread,),
    on_spent=(budget_reactions.count, alert_reactions.on_spent),
    on_budget=(alert_reactions.on_budget,),
    on_place=(alert_entries.on_place,),
    budget_limits=alert_reactions.limits_of_budgets,
    on_let_go=budget_reactions.let_go_on,
    on_call=(alert_reactions.on_call,),
    on_repeat=(heard.note_request_again,),
)
"""What follows from an event, in this order."""


def _no_needs(_needs: Needs, _principal: Principal, _command: c.Write) -> None:
    """For what touches nothing that is there."""


VERBS: dict[type[c.Write], Verb] = {
    c.Append: Verb(needs_of_append, append_items),
    c.CreateRun: Verb(runs.needs_of_create, runs.create_run, acts.create_run),
    c.CreateThread: Verb(runs.needs_of_thread, runs.create_thread, acts.create_thread),
    c.RegisterAgent: Verb(runs.needs_of_agent, runs.register_agent, acts.register_agent),
    c.CancelRun: Verb(cancel.needs_of_cancel, cancel.cancel_run, acts.cancel_run),
    c.KillRun: Verb(cancel.needs_of_cancel, cancel.kill_run, acts.kill_run),
    c.SteerRun: Verb(steering.needs_of_steer, steering.steer_run, acts.steer_run),
    c.GiveInput: Verb(steering.needs_of_input, steering.give_input, acts.give_input),
    c.Deliver: Verb(receipts.needs_of_deliver, receipts.deliver),
    c.Claim: Verb(lanes.needs_of_claim, lanes.claim),
    c.ClaimRun: Verb(lanes.needs_of_lane, lanes.claim_run),
    c.Report: Verb(lanes.needs_of_report, lanes.report),
    c.Release: Verb(lanes.needs_of_lane, lanes.release),
    c.Finish: Verb(lanes.needs_of_finish, lanes.finish),
    c.Decide: Verb(approvals.needs_of_decide, approvals.decide, acts.decide),
    AnswerApproval: Verb(approvals.needs_of_answer, approvals.answer_approval, acts.answer_approval),
    MakeAnswerLink: Verb(approvals.needs_of_link, approvals.make_link, acts.make_link),
    c.CreateKey: Verb(_no_needs, keys.create_key, acts.create_key),
    c.RevokeKey: Verb(keys.needs_of_revoke, keys.revoke_key, acts.revoke_key),
    CreatePersona: Verb(personas.needs_of_persona, personas.create_persona, acts.create_persona),
    CreateRoute: Verb(personas.needs_of_route, personas.create_route, acts.create_route),
    c.RetryRun: Verb(reruns.needs_of_rerun, reruns.retry_run, acts.retry_run),
    c.ForkRun: Verb(reruns.needs_of_rerun, reruns.fork_run, acts.fork_run),
    CreateBudget: Verb(budgets.needs_of_create, budgets.create_budget, acts.create_budget),
    ChangeBudget: Verb(budgets.needs_of_budgets, budgets.change_budget, acts.change_budget),
    DeleteBudget: Verb(budgets.needs_of_budgets, budgets.delete_budget, acts.delete_budget),
    ReserveBudget: Verb(budgets.needs_of_reserve, budgets.reserve),
    ReleaseReservation: Verb(budgets.needs_of_release, budgets.release, acts.release),
    CreatePrice: Verb(prices.needs_of_prices, prices.create_price, acts.create_price),
    DeletePrice: Verb(prices.needs_of_prices, prices.delete_price, acts.delete_price),
    CorrectCosts: Verb(needs_of_correct, correct_costs, acts.reprice),
    **RETENTION_VERBS,
    CreateRule: Verb(alerts.needs_of_rule, alerts.create_rule, of_alerts.create_rule),
    ChangeRule: Verb(alerts.needs_of_rule, alerts.change_rule, of_alerts.change_rule),
    DeleteRule: Verb(alerts.needs_of_rule, alerts.delete_rule, of_alerts.delete_rule),
    AcknowledgeAlert: Verb(alerts.needs_of_alert, alerts.acknowledge, of_alerts.acknowledge),
    MuteAlert: Verb(alerts.needs_of_alert, alerts.mute, of_alerts.mute),
    Redeliver: Verb(alerts.needs_of_redeliver, alerts.redeliver, of_alerts.redeliver),
    RedeliverFrom: Verb(alerts.needs_of_redeliver_from, alerts.redeliver_from, of_alerts.redeliver_from),
    m.CreateMember: Verb(members.needs_of_create, members.create_member, of_members.create_member),
    m.ChangeMember: Verb(members.needs_of_change, members.change_member, of_members.change_member),
    m.RemoveMember: Verb(members.needs_of_removal, members.remove_member, of_members.remove_member),
    m.MakeSignInLink: Verb(members.needs_of_link, members.make_link, of_members.make_link),
    m.EndSignInLink: Verb(members.needs_of_link_end, members.end_link, of_members.end_link),
    m.StartSession: Verb(members.needs_of_start, members.start_session, of_members.start_session),
    m.EndSession: Verb(members.needs_of_one_end, members.end_session, of_members.end_session),
    m.EndSessions: Verb(members.needs_of_end, members.end_sessions, of_members.end_sessions),
    m.SetPassword: Verb(members.needs_of_password, members.set_password, of_members.set_password),
    c.KeepContent: Verb(needs_of_parts, keep_parts),
    c.KeepReply: Verb(needs_of_reply, keep_reply),
}
"""Every writing command. One that is an act of a person names what the audit says of it."""
